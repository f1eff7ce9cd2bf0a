"""One run of a study, in a process of its own: threads, seeds and logs are a process's.

``python -m recbole_darec.studies.worker`` reads one task from its standard input, a line of JSON,
and leaves the outcome in the run's folder.  It ends when its standard input ends: a driver that
was killed cannot say so.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_darec.alignment.registry import aligner_class
from recbole_darec.data.files import replacing
from recbole_darec.errors import UserError, first_line
from recbole_darec.recbole_compat import gpu_count
from recbole_darec.resolve import restore
from recbole_darec.run import train
from recbole_darec.settings.options import parse_options
from recbole_darec.settings.run_settings import Settings
from recbole_darec.studies.frequency import by_frequency, trained_counts
from recbole_darec.studies.outcome import (
    CURVE,
    FIRST_PHASE,
    MODEL,
    Outcome,
    Taken,
    Task,
    leave,
    read_outcome,
    seconds_of,
)
from recbole_darec.training.phases import phase_file
from recbole_darec.training.watch import Watch

__all__ = ["done", "main"]

_TAKEN = "taken"  # marks an epoch that another run has trained


def main() -> int:
    """Do the task of the first line of standard input; returns 0, whatever came of the run."""
    task = Task.of_text(sys.stdin.readline())
    threading.Thread(target=_end_with_driver, daemon=True).start()
    folder = Path(task.folder)
    with _alone_in(folder):
        if read_outcome(folder) is None:  # or that worker has ended the run meanwhile
            leave(done(task), folder)
    sys.stdout.flush()
    return 0


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for the worker of a driver that was killed, which may have a moment to live."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            import fcntl
        except ImportError:  # Windows
            pass
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def done(task: Task, told: Callable[[int, float], None] | None = None) -> Outcome:
    """Do a task; a run that fails is an outcome, too.

    Args:
        task: what is to be done.
        told: is called after each validation with the epoch and its score.
    """
    folder = Path(task.folder)
    os.chdir(folder)  # RecBole's logs go where a run is started
    try:
        return _trained(task, folder, told)
    except UserError as error:
        reason = str(error)
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            reason = f"out of memory ({first_line(error)[:160]})"
    print(f"failed: {reason}", flush=True)
    return Outcome("failed", reason)


def _trained(task: Task, folder: Path, told: Callable[[int, float], None] | None) -> Outcome:
    values = {
        **task.values,
        "checkpoint_dir": str(folder),
        "checkpoint_name": MODEL,
        "resume": True,
        **_device(task),
    }
    settings = restore(task.model, task.dataset, task.align, values)
    start = time.perf_counter()
    # The file of a run on another machine may not be here; the same comes of training anew.
    taken = task.taken if task.taken is not None and Path(task.taken.file).is_file() else None
    notes = _Notes(folder / CURVE, told, taken)
    file = None if taken is None else Path(taken.file)
    whole = taken is not None and taken.whole
    result = train(
        settings,
        watch=notes,
        trained=file if whole else None,
        first_phase=None if whole else file,
    )
    seconds = time.perf_counter() - start
    curve = notes.curve()
    seconds += notes.seconds_taken
    if taken is not None and taken.whole:
        curve, seconds = taken.curve, seconds + taken.seconds
    model_file = result["model_file"]
    if model_file is not None and task.keep_phase and not notes.took_phase:
        _keep_phase(settings, Path(model_file))
    if not task.keep_model:
        model_file = None
    return Outcome(
        "done",
        valid=_plain(result["best_valid_result"]),
        test={**_plain(result["test_result"]), **_by_bucket(result)},
        best_epoch=int(result["best_epoch"]),
        chosen=notes.chosen,
        groups=notes.groups,
        curve=curve,
        seconds=seconds,
        model_file=None if model_file is None else str(model_file),
        users=notes.users,
    )


def _keep_phase(settings: Settings, model_file: Path) -> None:
    """Copy the best model of the first phase to where others find it.

    Its own file stays for this run, which goes on from its last snapshot if it is killed here.
    """
    method = aligner_class(settings.align)
    first, *others = method.phases(parse_options(method.Options, settings.values))
    path = phase_file(model_file, first.name)
    if others and path.is_file():
        with path.open("rb") as model, replacing(path.with_name(FIRST_PHASE)) as file:
            shutil.copyfileobj(model, file)


def _device(task: Task) -> dict[str, Any]:
    """Return the GPU of a task's place, where there are several and the study names none."""
    if "gpu_id" in task.values or task.values.get("use_gpu") is False:
        return {}
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:  # Ray's choice, which RecBole would overwrite with its own default
        return {"gpu_id": shown} if shown else {"use_gpu": False}
    n_gpus = gpu_count()
    return {"gpu_id": str(task.slot % n_gpus)} if n_gpus > 1 else {}


class _Notes(Watch):
    """Notes a run's epochs in a file, line by line, and what was found of each user."""

    def __init__(
        self,
        path: Path,
        told: Callable[[int, float], None] | None,
        taken: Taken | None = None,
    ) -> None:
        self.asks_for_rows = True
        self.keeps_snapshot = True  # until the outcome is written
        self.took_phase = False
        self.seconds_taken = 0.0
        self._path = path
        self._told = told
        self._taken = taken
        self._trained_at = 0.0
        self.users: dict[str, Any] | None = None
        self.groups: dict[str, Any] = {}
        self.chosen: dict[str, float] = {}

    def trained(
        self, epoch: int, seconds: float, losses: Mapping[str, float], phase: int = 0
    ) -> None:
        self._note({"epoch": epoch, "seconds": seconds, "losses": _plain(losses)}, phase)
        self._trained_at = time.perf_counter()

    def validated(self, epoch: int, score: float, phase: int = 0) -> None:
        seconds = time.perf_counter() - self._trained_at
        self._note({"epoch": epoch, "valid": score, "valid_seconds": seconds}, phase)
        if self._told is not None:
            self._told(epoch, score)

    def took_first_phase(self) -> None:
        # Noted with the run's own: what goes on from here after a kill has them, too.
        for epoch in self._taken.curve if self._taken is not None else ():
            self._note({**epoch, _TAKEN: True}, 0)

    def tested(self, model: Any, train_data: Any, ranking: Any) -> None:
        of_users, of_items = trained_counts(train_data)
        self.chosen = {name: float(value) for name, value in model.aligner.chosen().items()}
        if ranking is None:
            return
        self.groups = by_frequency(ranking, of_users, of_items)
        ids = ranking.users.astype("int32")
        counts = of_users[ranking.users].astype("int32")
        self.users = {"users": ids, "trained": counts, **ranking.metrics}

    def curve(self) -> list[dict[str, Any]]:
        """Return the epochs, counted through all phases, those of a phase that was taken, too.

        What a run did twice, before a kill and after it, counts once.
        """
        epochs: dict[tuple[int, int], dict[str, Any]] = {}
        if self._path.is_file():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    noted = json.loads(line)
                except ValueError:  # the driver's machine was killed while the line was written
                    continue
                place = noted.get("phase", 0), noted["epoch"]
                known = epochs.setdefault(place, {})
                if "losses" in noted:  # an epoch's first line, or all of one that was taken
                    known.clear()
                known.update(noted)
        taken = [epoch for epoch in epochs.values() if epoch.pop(_TAKEN, False)]
        self.took_phase = bool(taken)
        self.seconds_taken = sum(map(seconds_of, taken))
        lengths = Counter({phase: epoch + 1 for phase, epoch in sorted(epochs)})
        before = {phase: sum(lengths[n] for n in range(phase)) for phase in lengths}
        return [{**epochs[place], "epoch": before[place[0]] + place[1]} for place in sorted(epochs)]

    def _note(self, what: Mapping[str, Any], phase: int) -> None:
        noted = {**what, "phase": phase} if phase else what
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(noted) + "\n")


def _plain(values: Mapping[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (values or {}).items()}


def _by_bucket(result: Mapping[str, Any]) -> dict[str, float]:
    """Return ``<metric> <bucket>`` of a run that tells its metrics apart by buckets of items."""
    return {
        f"{metric} {bucket}": float(value)
        for bucket, found in result.get("test_by_frequency", {}).items()
        for metric, value in found.items()
        if "@" in metric
    }


def _end_with_driver() -> None:
    if not sys.stdin.read():
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

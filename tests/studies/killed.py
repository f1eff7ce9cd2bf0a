"""Workers and drivers of a study that end by SIGKILL at a chosen moment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from warm import begin

from recbole_darec.studies import worker
from recbole_darec.studies.outcome import Outcome, Task, read_outcome
from recbole_darec.studies.processes import LOG, LocalProcesses
from recbole_darec.studies.results import Store, open_results
from recbole_darec.studies.runner import run_study
from recbole_darec.studies.study import read_study

# After the n-th time that a file of such a name is put in place or removed; or, without a name,
# after the n-th such change at all.
Moment = tuple[str | None, int]
CHANGES = "changes.txt"


class ForkedWorkers:
    """Does one task at a time in a process that is forked for it.

    Args:
        moments: by aligner, when the processes of its run are killed, one after another.
    """

    def __init__(self, moments: dict[str, list[Moment]] | None = None) -> None:
        self.killed: list[str] = []
        self._moments = moments or {}
        self._running: tuple[Task, BaseProcess] | None = None

    def free(self) -> int:
        return int(self._running is None)

    def start(self, task: Task) -> None:
        moments = self._moments.get(task.align)
        moment = moments.pop(0) if moments else None
        self._running = task, begin(_work, task.folder, task.as_text(), moment)

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        assert self._running is not None
        (task, process), self._running = self._running, None
        process.join(120)
        if process.exitcode == -signal.SIGKILL:
            self.killed.append(task.align)
        else:
            assert process.exitcode == 0, Path(task.folder, LOG).read_text()
        return [(task, read_outcome(Path(task.folder)) or f"signal {process.exitcode}")]

    def close(self) -> None:
        self._running = None


def _work(folder: str, text: str, moment: Moment | None) -> None:
    """Be the worker that reads this line, and die at that moment."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    log = os.open(Path(folder) / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    reader, writer = os.pipe()  # stays open: the driver lives
    os.write(writer, f"{text}\n".encode())
    sys.stdin = os.fdopen(reader)
    _watch_files(Path(folder) / CHANGES, moment)
    worker.main()


def _watch_files(path: Path, moment: Moment | None) -> None:
    changes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    seen: list[str] = []

    def watched(change: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: Any, **kwargs: Any) -> None:
            change(*args, **kwargs)
            seen.append(Path(args[-1]).name)
            os.write(changes, f"{seen[-1]}\n".encode())
            if moment is not None:
                name, number = moment
                if (len(seen) if name is None else seen.count(name)) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        return counted

    for name in ("replace", "unlink"):
        setattr(os, name, watched(getattr(os, name)))


def drive(folder: str, at: str | None, number: int = 0) -> None:
    """Run the study in ``folder`` with workers of their own, and die at a moment.

    Args:
        folder: with ``study.yaml``.
        at: ``starting`` or ``started`` (a worker), ``ending`` or ``ended`` (a run, in the store),
            or the name of a file, which is waited for; None never.
        number: for the how many-th time.
    """
    os.chdir(folder)
    if at is not None:
        owner, name = (LocalProcesses, "start") if "start" in at else (Store, "finish")
        if "." in at:
            _wait_for(at)
        else:
            _die_at(owner, name, number, after=at.endswith("ed"))
    with open_results(Path("results.sqlite")) as store:
        run_study(read_study("study.yaml"), store, LocalProcesses(1), Path("runs").resolve())


def _die_at(owner: Any, name: str, number: int, *, after: bool) -> None:
    plain, calls = getattr(owner, name), 0

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = plain(*args)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


def _wait_for(pattern: str) -> None:
    """Die as soon as there is such a file; the driver looks often enough while it waits."""
    from recbole_darec.studies import processes

    def looks(seconds: float) -> None:
        if list(Path("runs").rglob(pattern)):
            os.kill(os.getpid(), signal.SIGKILL)
        processes_sleep(seconds / 10)

    processes_sleep = processes.time.sleep
    processes.time = type("Time", (), {"sleep": staticmethod(looks)})  # type: ignore[assignment]

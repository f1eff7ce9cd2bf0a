"""Tuning in RecBole's manner: trials over a params file, the best by validation, as a yaml."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_darec.data.files import file_digest
from recbole_darec.errors import UserError
from recbole_darec.resolve import resolve
from recbole_darec.settings.effects import more_is_better
from recbole_darec.settings.layers import with_conditions
from recbole_darec.settings.run_settings import Settings
from recbole_darec.settings.values import read_yaml
from recbole_darec.studies.fingerprint import content_digest, data_files
from recbole_darec.studies.outcome import Outcome, Task, read_outcome
from recbole_darec.studies.processes import LIVES, LOG, LocalProcesses
from recbole_darec.studies.resolved import key_of, with_whole_paths
from recbole_darec.studies.space import Range
from recbole_darec.studies.suggestions import Suggestions, ends
from recbole_darec.studies.tuning_files import TrialDone, words

__all__ = ["Digests", "Teller", "Tuning", "tune_here"]

_THREADS = 1
_EPOCHS = 300  # RecBole's default


@dataclass(frozen=True)
class Tuning:
    """What all trials have in common.

    Attributes:
        model, dataset: as given; the files may name them.
        files: property files.
        given: options of the command line.
        ranges: what is chosen from.
        fixed: settings without a choice.
        folder: in which each trial has a folder.
    """

    model: str | None
    dataset: str | None
    files: Sequence[str]
    given: Mapping[str, Any]
    ranges: Mapping[str, Range]
    fixed: Settings
    folder: Path

    @property
    def metric(self) -> str:
        """The validation metric that decides, as a run reports it."""
        return str(self.fixed.values["valid_metric"]).lower()

    @property
    def bigger(self) -> bool:
        """Whether more of it is better."""
        return more_is_better(self.metric)

    @property
    def seed(self) -> int:
        """The seed of the search: the runs' own."""
        return int(self.fixed.values.get("seed", 2020))

    @property
    def epochs(self) -> int:
        """The most epochs that a trial has."""
        if "epochs" in self.ranges:
            return int(max(ends(self.ranges["epochs"])))
        return int(self.fixed.values.get("epochs", _EPOCHS))

    def settings(self, setting: Mapping[str, Any]) -> Settings:
        """Return the settings of a trial.

        Raises:
            UserError: these values do not go together.
        """
        return resolve(self.model, self.dataset, self.files, setting, self.given)

    def task(self, setting: Mapping[str, Any], digest_of: Callable[[Path], str]) -> Task:
        """Return what a worker needs for a trial.

        Raises:
            UserError: these values do not go together.
        """
        settings = self.settings(setting)
        # One thread, as in a study: sums of several differ in the last digit.
        threads = settings.run.num_threads or _THREADS
        values = {"show_progress": False, **settings.values, "num_threads": threads}
        values = with_whole_paths(values, Path.cwd())
        whole = settings.with_values(values)
        key = key_of(whole, content_digest(data_files(whole), digest_of))
        return Task(
            key=key,
            model=whole.model,
            dataset=whole.dataset,
            align=whole.align,
            values=whole.values,
            folder=str(self.folder / key),
            keep_model=False,
        )

    def done(self, setting: Mapping[str, Any], outcome: Outcome) -> TrialDone:
        """Return a trial with its score."""
        score = outcome.valid.get(self.metric) if outcome.state == "done" else None
        return TrialDone(setting, outcome, score)

    def loss(self, score: float | None) -> float | None:
        """Return a score as a loss, less of which is better."""
        return None if score is None else (-score if self.bigger else score)

    def best_of(self, trials: Sequence[TrialDone]) -> TrialDone | None:
        """Return the best of the trials that came to their end, of equal ones the first.

        A score that is not a number is worse than any other.
        """

        def key(one: TrialDone) -> float:
            loss = self.loss(one.score)
            return math.inf if loss is None or math.isnan(loss) else loss

        whole = [one for one in trials if one.score is not None and one.stopped is None]
        return min(whole, key=key, default=None)

    def best_content(self, best: TrialDone) -> dict[str, Any]:
        """Return everything that was given, with what was chosen in its place."""
        here = {
            "family": self.fixed.family,
            "model": self.fixed.model,
            "dataset": self.fixed.dataset,
            "align": str(best.setting.get("align", self.fixed.align)),
        }
        content: dict[str, Any] = {name: here[name] for name in ("model", "dataset", "align")}
        content["num_threads"] = _THREADS
        for file in self.files:
            content.update(with_conditions(read_yaml(file), here, file))
        content.update(best.setting)
        content.update(self.given)
        return {**content, **{name: here[name] for name in ("model", "dataset", "align")}}


class Teller:
    """Says how far a tuning is, one line for each trial, and what is best so far as RecBole does.

    Args:
        tuning: the tuning.
        length: trials at most.
        timed: whether they come one after another, so that the time left can be told.
    """

    def __init__(self, tuning: Tuning, length: int, *, timed: bool = True) -> None:
        self._tuning, self._length, self._timed = tuning, length, timed
        self._begun = time.monotonic()
        self.trials: list[TrialDone] = []
        self.best: TrialDone | None = None
        self.since_best = 0

    def note(self, trial: TrialDone, *, known: bool = False) -> None:
        """Take note of a trial that has ended, and tell it unless an earlier command did it."""
        self.trials.append(trial)
        found = self._tuning.best_of(self.trials)
        better = found is not self.best
        self.best = found
        self.since_best = 0 if better else self.since_best + 1
        number = f"trial {len(self.trials)} of {self._length}"
        if known:
            print(f"{number}: {words(trial.setting)} (done before)", flush=True)
            return
        if trial.outcome.state == "failed":
            print(f"{number}: {words(trial.setting)}: failed ({trial.outcome.reason})", flush=True)
            return
        early = "" if trial.stopped is None else f", stopped after {trial.stopped} epochs"
        score = f"{self._tuning.metric} {trial.score:.4f}{early}"
        print(f"{number}: {words(trial.setting)}: {score}{self._left()}", flush=True)
        if better and found is not None:
            print(f"current best valid score: {found.score:.4f}")
            print(f"current best valid result:\n{found.outcome.valid}")
            print(f"current test result:\n{found.outcome.test}\n", flush=True)

    def _left(self) -> str:
        if not self._timed:
            return ""
        each = (time.monotonic() - self._begun) / len(self.trials)
        minutes = each * (self._length - len(self.trials)) / 60
        return f"; at most {minutes:.1f} min left"


def tune_here(tuning: Tuning, max_trials: int | None, early_stop: int) -> Teller:
    """Run the trials one after another, each in a process of its own.

    A trial that ended before is taken as it is; one whose process is killed goes on from its
    snapshot.

    Args:
        tuning: what all trials have in common.
        max_trials: the most that is wanted.
        early_stop: trials in a row without a better one that end the search.
    """
    search = Suggestions(tuning.ranges, max_trials, tuning.seed)
    teller = Teller(tuning, search.length)
    digests = Digests()
    executor = LocalProcesses(1)
    try:
        for _ in range(search.length):
            setting = search.next()
            outcome, known = _outcome(tuning, setting, digests, executor)
            trial = tuning.done(setting, outcome)
            teller.note(trial, known=known)
            search.learn(tuning.loss(trial.score))
            if teller.since_best >= early_stop:
                print(f"no better trial in {early_stop}: the search ends", flush=True)
                break
    finally:
        executor.close()
    return teller


def _outcome(
    tuning: Tuning, setting: Mapping[str, Any], digests: Digests, executor: LocalProcesses
) -> tuple[Outcome, bool]:
    """Return what came of a trial, and whether it was done before."""
    try:
        task = tuning.task(setting, digests.of)
    except UserError as error:
        return Outcome("failed", str(error)), False
    kept = read_outcome(Path(task.folder))
    if kept is not None:
        return kept, True
    print(f"running parameters: {dict(setting)}", flush=True)
    for _ in range(LIVES):
        executor.start(task)
        ((_, outcome),) = executor.ended()
        if not isinstance(outcome, str):
            break
        print(f"{words(setting)}: {outcome}; it goes on", flush=True)
    if isinstance(outcome, str):
        return Outcome("failed", f"{outcome}, {LIVES} times; see {task.folder}/{LOG}"), False
    return outcome, False


class Digests:
    """Digests of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Return the digest of a file's content."""
        if path not in self._known:
            self._known[path] = file_digest(path)
        return self._known[path]

"""How far a study is: one line for each run that ends, in a plain log as on a terminal."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from typing import TextIO

from recbole_darec.settings.effects import more_is_better
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.plan import Plan
from recbole_darec.studies.results import Row
from recbole_darec.studies.study import Study, Trial

__all__ = ["Progress"]


class Progress:
    """Tells how far a study is.

    Args:
        study: the study.
        stream: where the lines go.
    """

    def __init__(self, study: Study, stream: TextIO) -> None:
        self._metric = study.options.metric.lower()
        self._better = operator.gt if more_is_better(self._metric) else operator.lt
        self._stream = stream
        self._begun = time.monotonic()
        self._ended = 0
        self._last = ""
        self._told = (-1, -1, -1)
        self._best: tuple[float, str] | None = None

    def words(self, trial: Trial) -> str:
        """Say which run it is."""
        method = trial.method
        seed = f"seed {trial.seed}"
        if trial.tuning:
            seed = "tuning " + ", ".join(f"{k}={v}" for k, v in trial.setting.items())
        backbone = "" if method.alone else f"{method.backbone} "
        return f"{method.dataset} {backbone}{method.name}, {seed}"

    def note(self, trial: Trial, outcome: Outcome) -> None:
        """Take note of a run that has ended."""
        self._ended += 1
        if outcome.state == "failed":
            self._last = f"{self.words(trial)}: failed ({outcome.reason})"
            return
        score = outcome.valid.get(self._metric)
        seconds = outcome.seconds or 0.0
        shown = "" if score is None else f" {self._metric} {score:.4f}"
        self._last = f"{self.words(trial)}:{shown} in {_duration(seconds)}"
        if score is not None and (self._best is None or self._better(score, self._best[0])):
            self._best = score, self.words(trial)

    def say(self, text: str) -> None:
        """Say something else."""
        print(text, file=self._stream, flush=True)

    def tell(self, plan: Plan, rows: Mapping[str, Row]) -> None:
        """Print the line where something has changed."""
        keys = plan.keys
        states = [rows[key].state for key in keys if key in rows]
        done, failed = states.count("done"), states.count("failed")
        total = len(keys) + plan.n_waiting
        left = total - done - failed
        parts = [f"{done} of {total} runs done"]
        if failed:
            parts.append(f"{failed} failed")
        parts.append(f"{left} left")
        if left and self._ended:
            each = (time.monotonic() - self._begun) / self._ended
            parts.append(f"about {_duration(each * left)} to go")
        if self._best is not None:
            parts.append(f"best so far {self._best[0]:.4f} ({self._best[1]})")
        line = ", ".join(parts)
        if self._last:
            line = f"{line} | {self._last}"
            self._last = ""
        if (done, failed, total) != self._told:
            self.say(line)
            self._told = (done, failed, total)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

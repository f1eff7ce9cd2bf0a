"""Which setting is tried next: every combination, or what hyperopt suggests.

A search is its ranges, its length and its seed: the same results in the same order give the same
suggestions, so that a tuning that was killed goes on by asking again.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recbole_darec.errors import MissingExtraError
from recbole_darec.studies.space import Range

__all__ = [
    "Suggestions",
    "combinations",
    "ends",
    "hyperopt_space",
    "length_of",
    "random_trials",
    "require_hyperopt",
    "values_at",
]

Point = dict[str, float]
"""What was drawn for each option: a number, or the position of a choice."""

_WITHOUT_END = 100  # trials where a range has no end of combinations; RecBole's number
_DIGITS = 12  # of a quantised number: 3 * 0.1 is 0.3


def ends(of: Range) -> list[Any]:
    """Return a range's choices, or its two ends: what the option must permit."""
    if of.kind == "choice":
        return list(of.values)
    low, high = of.values[:2]
    return [_value(of, math.exp(end) if of.kind == "loguniform" else end) for end in (low, high)]


def values_at(ranges: Mapping[str, Range], point: Mapping[str, float]) -> dict[str, Any]:
    """Return the options that a point stands for."""
    return {name: _value(of, point[name]) for name, of in ranges.items()}


def _value(of: Range, drawn: float) -> Any:
    if of.kind == "choice":
        return of.values[int(drawn)]
    if of.kind != "quniform":
        return float(drawn)
    low, high, step = of.values
    # Hyperopt rounds to a multiple of the step, which may lie beyond the bounds.
    number = min(max(float(drawn), low), high)
    if all(float(part).is_integer() for part in (low, high, step)):
        return round(number)
    return float(f"{number:.{_DIGITS}g}")


def combinations(ranges: Mapping[str, Range]) -> int | None:
    """Return how many combinations there are, None where an option has a range."""
    if any(of.kind != "choice" for of in ranges.values()):
        return None
    return math.prod(len(of.values) for of in ranges.values())


def length_of(ranges: Mapping[str, Range], max_trials: int | None) -> int:
    """Return how many trials a search has: all combinations, or a number of them.

    Args:
        ranges: what is chosen from.
        max_trials: the most that is wanted; None for all combinations, or a hundred of a range.
    """
    known = combinations(ranges)
    if known is None:
        return max_trials or _WITHOUT_END
    return min(known, max_trials or known)


def random_trials(length: int) -> int:
    """Return how many trials of a search are drawn at random, before it has learned."""
    return max(3, min(20, length // 3))


class Suggestions:
    """The settings of a tuning, one after another.

    All combinations, in an order that the seed draws, where there are only choices and time for all
    of them; else the tree-structured Parzen estimator of Bergstra et al. 2011 (hyperopt's).

    Args:
        ranges: what is chosen from.
        max_trials: the most that is wanted; None for all combinations, or a hundred of a range.
        seed: of the order, or of the suggestions.

    Attributes:
        length: how many trials there will be.

    Raises:
        MissingExtraError: hyperopt is needed and not installed.
    """

    def __init__(self, ranges: Mapping[str, Range], max_trials: int | None, seed: int) -> None:
        self.ranges = ranges
        self.length = length_of(ranges, max_trials)
        self._asked = 0
        self._estimator: _Estimator | None = None
        if self.length == combinations(ranges):
            self._order = np.random.default_rng(seed).permutation(self.length)
        else:
            self._estimator = _Estimator(ranges, self.length, seed)

    @property
    def is_whole(self) -> bool:
        """Whether every combination is tried."""
        return self._estimator is None

    def next(self) -> dict[str, Any]:
        """Return the next setting; :meth:`learn` is told what came of it before the next call."""
        number = self._asked
        self._asked += 1
        if self._estimator is not None:
            return values_at(self.ranges, self._estimator.next(number))
        rest = int(self._order[number])
        point: Point = {}
        for name, of in reversed(list(self.ranges.items())):
            rest, point[name] = divmod(rest, len(of.values))
        return values_at(self.ranges, point)

    def learn(self, loss: float | None) -> None:
        """Take note of what came of the last setting: less is better, None where it failed."""
        if self._estimator is not None:
            self._estimator.learn(loss)


class _Estimator:
    """Hyperopt, asked for one point at a time."""

    def __init__(self, ranges: Mapping[str, Range], length: int, seed: int) -> None:
        require_hyperopt()
        # Hyperopt uses NumPy's old names, and numbers as trials come in.
        import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
        from hyperopt import Trials
        from hyperopt.base import Domain

        self._domain = Domain(lambda _: 0.0, hyperopt_space(ranges))
        self._trials = Trials()
        self._seed = seed
        self._random = random_trials(length)
        self._last: dict[str, Any] = {}
        self._worst: float | None = None

    def next(self, number: int) -> Point:
        from hyperopt import tpe

        drawn = np.random.SeedSequence([self._seed, number]).generate_state(1)[0]
        documents = tpe.suggest(
            self._trials.new_trial_ids(1),
            self._domain,
            self._trials,
            seed=int(drawn) % 2**31,
            n_startup_jobs=self._random,
        )
        self._last = documents[0]
        found = self._last["misc"]["vals"]
        return {name: float(values[0]) for name, values in found.items()}

    def learn(self, loss: float | None) -> None:
        from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK

        if loss is not None and np.isfinite(loss):
            self._worst = loss if self._worst is None else max(self._worst, loss)
        else:
            # Hyperopt would forget a failed one, and ask for its like again.
            loss = None if self._worst is None else self._worst + 1.0
        result = {"status": STATUS_FAIL} if loss is None else {"status": STATUS_OK, "loss": loss}
        self._trials.insert_trial_docs([{**self._last, "state": JOB_STATE_DONE, "result": result}])
        self._trials.refresh()


def hyperopt_space(ranges: Mapping[str, Range]) -> dict[str, Any]:
    """Return ranges in hyperopt's terms; a choice is drawn as its position."""
    from hyperopt import hp

    found = {}
    for name, of in ranges.items():
        if of.kind == "choice":
            found[name] = hp.choice(name, list(range(len(of.values))))
        else:
            found[name] = getattr(hp, of.kind)(name, *of.values)
    return found


def require_hyperopt() -> None:
    """Raise :class:`MissingExtraError` unless hyperopt is installed."""
    if importlib.util.find_spec("hyperopt") is None:
        raise MissingExtraError("hyperopt", "tune")

"""Which setting is tried next: every combination, or what hyperopt suggests.

A search is its space, its length and its seed: the same results in the same order give the same
suggestions, so that a tuning that was killed goes on by asking again.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from recbole_darec.errors import MissingExtraError
from recbole_darec.studies.space import Space

__all__ = ["Search", "length_of", "require_hyperopt"]

_WITHOUT_END = 100  # trials where a range has no end of combinations; RecBole's number


def length_of(space: Space, max_trials: int | None) -> int:
    """Return how many trials a search has: all combinations, or a number of them.

    Args:
        space: what is chosen from.
        max_trials: the most that is wanted; None for all combinations, or a hundred of a range.
    """
    combinations = space.n_combinations
    if combinations is None:
        return max_trials or _WITHOUT_END
    return min(combinations, max_trials or combinations)


class Search:
    """The settings of a tuning, one after another.

    All combinations, in an order that the seed draws, where there are only choices and time for all
    of them; else the tree-structured Parzen estimator of Bergstra et al. 2011 (hyperopt's).

    Args:
        space: what is chosen from.
        max_trials: the most that is wanted; None for all combinations, or a hundred of a range.
        seed: of the order, or of the suggestions.

    Attributes:
        length: how many trials there will be.

    Raises:
        MissingExtraError: hyperopt is needed and not installed.
    """

    def __init__(self, space: Space, max_trials: int | None, seed: int) -> None:
        self.space = space
        self.length = length_of(space, max_trials)
        self._seed = seed
        self._asked = 0
        self._suggestions: _Suggestions | None = None
        if self.length == space.n_combinations:
            self._order = np.random.default_rng(seed).permutation(self.length)
        else:
            self._suggestions = _Suggestions(space, self.length, seed)

    def point(self) -> dict[str, float]:
        """Return the next point; :meth:`learn` is told what came of it before the next call."""
        number = self._asked
        self._asked += 1
        if self._suggestions is None:
            return self.space.combination(int(self._order[number]))
        return self._suggestions.next(number)

    def learn(self, loss: float | None) -> None:
        """Take note of what came of the last point: less is better, None where it failed."""
        if self._suggestions is not None:
            self._suggestions.learn(loss)


class _Suggestions:
    """Hyperopt, asked for one point at a time."""

    def __init__(self, space: Space, length: int, seed: int) -> None:
        require_hyperopt()
        from hyperopt import Trials
        from hyperopt.base import Domain

        import recbole_darec.recbole_compat.numpy_names  # noqa: F401  hyperopt uses old names

        self._domain = Domain(lambda _: 0.0, space.for_hyperopt())
        self._trials = Trials()
        self._seed = seed
        # Random ones first, of which a short search has few.
        self._random = max(3, min(20, length // 3))
        self._last: dict[str, Any] = {}
        self._worst: float | None = None

    def next(self, number: int) -> dict[str, float]:
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


def require_hyperopt() -> None:
    """Raise :class:`MissingExtraError` unless hyperopt is installed."""
    if importlib.util.find_spec("hyperopt") is None:
        raise MissingExtraError("hyperopt", "tune")

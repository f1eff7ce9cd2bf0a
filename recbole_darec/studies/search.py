"""Tuning: the same number of runs for every method of a backbone, judged by validation alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recbole_darec.errors import OptionError
from recbole_darec.resources import properties_dir
from recbole_darec.settings.effects import more_is_better
from recbole_darec.studies.results import Row
from recbole_darec.studies.space import Range, drawn, range_of, read_ranges
from recbole_darec.studies.study import Method, Study, Trial

__all__ = ["best_setting", "tuned_with", "tuning_trials"]

_SETTINGS = "settings of "  # the range of whole settings is no option's


def tuning_trials(study: Study, method: Method) -> list[Trial]:
    """Return the runs by which a method is tuned; none where it has nothing to choose from."""
    if study.tune is None or (method.variant and not method.tuned):
        return []
    ranges = _ranges(study.tune.space, method)
    if not ranges:
        return []
    settings = drawn(ranges, study.tune.trials, study.tune.seed)
    return [Trial(method, study.tune.seed, _whole(one), tuning=True) for one in settings]


def tuned_with(method: Method) -> Method:
    """Return the method whose setting this one takes.

    That is itself, or for a variant that is not tuned by itself the method that it is one of.
    """
    if method.tuned:
        return method
    return Method(method.dataset, method.model, method.align, "", method.alone, method.options)


def best_setting(trials: list[Trial], rows: list[Row], metric: str) -> dict[str, Any]:
    """Return the setting with the best validation metric; of equally good ones the first.

    A metric that is not a number is the worst.

    Args:
        trials: the tuning runs of a method.
        rows: what came of them, done.
        metric: the validation metric's name.

    Raises:
        KeyError: a run has no such metric.
    """
    sign = 1.0 if more_is_better(metric) else -1.0
    scores = [sign * row.valid[metric] for row in rows]
    known = [-math.inf if math.isnan(score) else score for score in scores]
    return dict(trials[known.index(max(known))].setting)


def _ranges(
    space: Mapping[str, Mapping[str, Any] | list[dict[str, Any]]], method: Method
) -> dict[str, Range]:
    """Return the ranges of a method's backbone, and those of its aligner or of each joined one.

    A model by itself has those that it is given alone: what ``none`` searches, it may not read.
    """
    if method.alone and method.model in space:
        return _given(method.model, space[method.model])
    aligners = [method.align] if method.align in space else method.align.split("+")
    found: dict[str, Range] = {}
    for name in (method.model, *aligners):
        if name in space:
            found.update(_given(name, space[name]))
        elif (properties_dir() / "tuning" / f"{name}.hyper").is_file():
            found.update(read_ranges(properties_dir() / "tuning" / f"{name}.hyper"))
    return found


def _whole(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return a drawn setting with those that were given whole taken apart."""
    found: dict[str, Any] = {}
    for name, value in trial.items():
        found.update(value if name.startswith(_SETTINGS) else {name: value})
    return found


def _given(owner: str, ranges: Mapping[str, Any] | list[dict[str, Any]]) -> dict[str, Range]:
    if isinstance(ranges, list):
        return {f"{_SETTINGS}{owner}": range_of(f"tune: space: {owner}", "choice", ranges)}
    found = {}
    for name, entry in ranges.items():
        where = f"tune: space: {owner}: {name}"
        if isinstance(entry, Mapping):
            if len(entry) != 1:
                raise OptionError(f"{where} is a list of values, or one range such as "
                                  "{uniform: [0, 1]}")  # fmt: skip
            ((kind, values),) = entry.items()
            found[name] = range_of(where, str(kind), values)
        else:
            found[name] = range_of(where, "choice", entry)
    return found

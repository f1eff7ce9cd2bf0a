"""Paired tests between two methods, over seeds and over users, and their correction."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recbole_darec.errors import MissingExtraError

__all__ = ["Paired", "holm", "over_seeds", "over_users"]


@dataclass(frozen=True)
class Paired:
    """What the paired tests say of a method and another one.

    Attributes:
        n: pairs.
        t_test: two-sided p of the paired t-test; NaN for fewer than two pairs, and where all pairs
            differ by the same.
        wilcoxon: two-sided p of the Wilcoxon signed-rank test; NaN likewise.
    """

    n: int
    t_test: float
    wilcoxon: float


def over_seeds(method: Mapping[int, float], other: Mapping[int, float]) -> Paired:
    """Compare two methods' metrics on the seeds that both have."""
    seeds = sorted(set(method) & set(other))
    return _paired(
        np.array([method[s] for s in seeds], float), np.array([other[s] for s in seeds], float)
    )


def over_users(
    method: Mapping[int, Mapping[str, np.ndarray]],
    other: Mapping[int, Mapping[str, np.ndarray]],
    metric: str,
) -> Paired:
    """Compare two methods' metrics on users: each user's means over the seeds that both have.

    Args:
        method, other: by seed, what :meth:`Store.users` returns.
        metric: the metric's name.
    """
    pairs = [
        _by_user(method[seed], other[seed], metric) for seed in sorted(set(method) & set(other))
    ]
    if not pairs:
        return Paired(0, math.nan, math.nan)
    users = np.unique(np.concatenate([ids for ids, _, _ in pairs]))
    sums = np.zeros((3, len(users)))
    for ids, ours, theirs in pairs:
        place = np.searchsorted(users, ids)
        for row, values in zip(sums, (ours, theirs, np.ones(len(ids)))):
            np.add.at(row, place, values)
    return _paired(sums[0] / sums[2], sums[1] / sums[2])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of one table corrected by Holm's method; NaN is no test, and stays.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    tested = [n for n, p in enumerate(p_values) if not math.isnan(p)]
    corrected = list(p_values)
    if not tested:
        return corrected
    if importlib.util.find_spec("statsmodels") is None:
        raise MissingExtraError("statsmodels", "report")
    from statsmodels.stats.multitest import multipletests

    found = multipletests([p_values[n] for n in tested], method="holm")[1]
    for n, p in zip(tested, found):
        corrected[n] = float(p)
    return corrected


def _by_user(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the users that both have, and the metric's mean over each one's rows in either."""
    found = []
    for one in (ours, theirs):
        # A user has several rows where sequences have several targets.
        values = one[metric].astype(float)
        there = ~np.isnan(values)  # of a bucket of items, only those who have one to be found
        users, row = np.unique(one["users"][there], return_inverse=True)
        found.append((users, np.bincount(row, values[there]) / np.bincount(row)))
    (a, of_a), (b, of_b) = found
    common, in_a, in_b = np.intersect1d(a, b, return_indices=True)
    return common, of_a[in_a], of_b[in_b]


def _paired(ours: np.ndarray, theirs: np.ndarray) -> Paired:
    if len(ours) < 2:
        return Paired(len(ours), math.nan, math.nan)
    from scipy.stats import ttest_rel, wilcoxon

    differences = ours - theirs
    if not differences.any():
        return Paired(len(ours), 1.0, 1.0)
    if np.ptp(differences) == 0:
        # Models that no seed changes: one observation, however often it was made.
        return Paired(len(ours), math.nan, math.nan)
    t_test = float(ttest_rel(ours, theirs).pvalue)
    return Paired(len(ours), t_test, float(wilcoxon(ours, theirs).pvalue))

"""Paired tests against textbook formulas, Holm's correction, users paired by id."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import t as student

from recbole_darec.studies.statistics import holm, over_seeds, over_users


def naive_t(ours: list[float], theirs: list[float]) -> float:
    differences = [a - b for a, b in zip(ours, theirs)]
    n = len(differences)
    mean = sum(differences) / n
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    return float(2 * student.sf(abs(mean / (deviation / math.sqrt(n))), n - 1))


def naive_wilcoxon(ours: list[float], theirs: list[float]) -> float:
    """Exact two-sided p by all assignments of signs; without ties."""
    differences = [a - b for a, b in zip(ours, theirs)]
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    found = sum(rank for rank, d in zip(ranks, differences) if d > 0)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs) if sign)
        for signs in itertools.product([False, True], repeat=len(ranks))
    ]
    low = sum(s <= found for s in sums) / len(sums)
    high = sum(s >= found for s in sums) / len(sums)
    return min(1.0, 2 * min(low, high))


def test_seeds_are_paired_by_number() -> None:
    ours = {1: 0.30, 2: 0.35, 3: 0.32, 4: 0.41, 9: 0.9}
    theirs = {4: 0.36, 3: 0.31, 2: 0.31, 1: 0.27, 7: 0.1}
    found = over_seeds(ours, theirs)
    pairs = ([ours[s] for s in (1, 2, 3, 4)], [theirs[s] for s in (1, 2, 3, 4)])
    assert found.n == 4
    assert found.t_test == pytest.approx(naive_t(*pairs))
    assert found.wilcoxon == pytest.approx(naive_wilcoxon(*pairs))


def test_one_pair_has_no_test_and_equal_ones_no_difference() -> None:
    assert math.isnan(over_seeds({1: 0.2}, {1: 0.1}).t_test)
    same = over_seeds({1: 0.2, 2: 0.3}, {1: 0.2, 2: 0.3})
    assert (same.t_test, same.wilcoxon) == (1.0, 1.0)
    # Models that no seed changes are observed once, not once a seed.
    assert math.isnan(over_seeds({1: 0.2, 2: 0.2}, {1: 0.1, 2: 0.1}).t_test)


def test_users_are_paired_by_id_and_averaged_over_seeds() -> None:
    rng = np.random.default_rng(1)
    ids = {1: np.array([3, 1, 2, 5]), 2: np.array([1, 2, 3, 4])}
    ours = {s: {"users": u, "m": rng.random(4)} for s, u in ids.items()}
    order = {1: [2, 0, 3, 1], 2: [3, 1, 0, 2]}
    theirs = {s: {"users": ids[s][order[s]], "m": rng.random(4)} for s in ids}
    means: dict[int, list[tuple[float, float]]] = {}
    for seed, users in ids.items():
        for user in users:
            a = ours[seed]["m"][list(users).index(user)]
            b = theirs[seed]["m"][list(theirs[seed]["users"]).index(user)]
            means.setdefault(int(user), []).append((float(a), float(b)))
    pairs = [tuple(np.mean(values, axis=0)) for _, values in sorted(means.items())]
    found = over_users(ours, theirs, "m")
    assert found.n == 5
    assert found.t_test == pytest.approx(naive_t(*map(list, zip(*pairs))))


def test_rows_of_one_user_are_averaged() -> None:
    ours = {1: {"users": np.array([1, 1, 2]), "m": np.array([0.0, 1.0, 0.4])}}
    theirs = {1: {"users": np.array([2, 1, 1]), "m": np.array([0.1, 0.3, 0.3])}}
    assert over_users(ours, theirs, "m").t_test == pytest.approx(naive_t([0.5, 0.4], [0.3, 0.1]))


def test_holm_multiplies_the_smallest_most_and_stays_in_order() -> None:
    assert holm([0.01, 0.04, math.nan, 0.03]) == pytest.approx(
        [0.03, 0.06, math.nan, 0.06], nan_ok=True
    )
    assert all(map(math.isnan, holm([math.nan])))

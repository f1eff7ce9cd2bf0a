"""Means, deviations and paired tests."""

from __future__ import annotations

import math
import statistics

import pytest

from recbole_darec.evaluation.significance import compare_paired


def paired_t(ours: list[float], theirs: list[float]) -> float:
    differences = [a - b for a, b in zip(ours, theirs)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences) / error


def test_is_the_textbooks_paired_t_test() -> None:
    ours, theirs = [0.30, 0.34, 0.31, 0.36], [0.28, 0.30, 0.31, 0.30]
    found = compare_paired(ours, theirs)
    assert found.mean == pytest.approx(statistics.mean(ours))
    assert found.deviation == pytest.approx(statistics.stdev(ours))
    assert found.gain == pytest.approx(statistics.mean(ours) / statistics.mean(theirs) - 1)
    # The two-sided probability of |t| with 3 degrees of freedom, in closed form.
    t = paired_t(ours, theirs)
    angle = math.atan(t / math.sqrt(3))
    inside = 2 / math.pi * (angle + math.sin(angle) * math.cos(angle))
    assert found.p_value == pytest.approx(1 - inside)


def test_one_seed_has_no_deviation_and_no_test() -> None:
    found = compare_paired([0.3], [0.2])
    assert found.gain == pytest.approx(0.5)
    assert math.isnan(found.deviation)
    assert math.isnan(found.p_value)


def test_the_same_difference_for_every_seed_divides_by_no_zero() -> None:
    assert compare_paired([1.0, 2.0], [1.0, 2.0]).p_value == 1.0
    assert compare_paired([2.0, 3.0], [1.0, 2.0]).p_value == 0.0


def test_other_numbers_of_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values of the method and 1"):
        compare_paired([0.1, 0.2], [0.1])

"""Means, deviations and paired tests over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Comparison", "compare_paired"]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same seeds.

    Attributes:
        mean, deviation: of the method, sample standard deviation (NaN for one seed).
        gain: relative gain of its mean over the reference's, 0.05 for five percent.
        p_value: two-sided paired t-test over the seeds (NaN for fewer than two).
    """

    mean: float
    deviation: float
    gain: float
    p_value: float


def compare_paired(method: Sequence[float], reference: Sequence[float]) -> Comparison:
    """Compare one metric of a method with the reference's on the same seeds, in the same order.

    Raises:
        ValueError: the two have different numbers of seeds.
    """
    ours, theirs = np.asarray(method, dtype=float), np.asarray(reference, dtype=float)
    if ours.shape != theirs.shape:
        raise ValueError(f"{len(ours)} values of the method and {len(theirs)} of the reference")
    p_value = math.nan
    if len(ours) > 1:
        if np.ptp(ours - theirs) > 0:
            from scipy.stats import ttest_rel

            p_value = float(ttest_rel(ours, theirs).pvalue)
        else:  # the same difference for every seed: the test's statistic divides by zero
            p_value = 1.0 if ours[0] == theirs[0] else 0.0
    return Comparison(
        mean=float(ours.mean()),
        deviation=float(ours.std(ddof=1)) if len(ours) > 1 else math.nan,
        gain=float(ours.mean() / theirs.mean() - 1.0),
        p_value=p_value,
    )

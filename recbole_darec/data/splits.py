"""Fixed splits by ratio, in NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_darec.errors import DataError

__all__ = ["parse_ratios", "part_sizes", "ratio_split"]


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Read ``"3:1:1"`` as the ratios of train, valid and test; raise :class:`DataError` if not."""
    try:
        train, valid, test = (float(part) for part in text.split(":"))
    except ValueError:
        train = valid = test = 0.0
    if not all(0 < ratio < float("inf") for ratio in (train, valid, test)):
        raise DataError(f"a split is 'none' or three positive numbers such as 3:1:1, not '{text}'")
    return train, valid, test


def part_sizes(totals: np.ndarray, ratios: Sequence[float]) -> np.ndarray:
    """How many of each group's rows go to each part, as RecBole 1.2.1 counts them.

    Every part but the first is ``floor(ratio · total)``; the first takes the rest.  A part that
    would be empty although its ratio is not takes one row from the first, the last part before
    the others, as long as the first keeps at least one.

    Args:
        totals: rows of each group, shape ``(groups,)``.
        ratios: one positive number a part; they need not add up to 1.

    Returns:
        Integers of shape ``(groups, parts)``; each row adds up to its total.
    """
    totals = np.asarray(totals, dtype=np.int64)
    shares = [ratio / sum(ratios) for ratio in ratios]
    sizes = np.stack([(share * totals).astype(np.int64) for share in shares], axis=1)
    sizes[:, 0] = totals - sizes[:, 1:].sum(axis=1)
    open_groups = np.ones(len(totals), dtype=bool)
    for part in range(len(shares) - 1, 0, -1):
        open_groups &= sizes[:, 0] > 1
        wanted = shares[part] * totals
        moved = open_groups & (wanted > 0) & (wanted < 1)
        sizes[moved, part] += 1
        sizes[moved, 0] -= 1
    return sizes


def ratio_split(
    groups: np.ndarray | None, n: int, ratios: Sequence[float] = (3, 1, 1), seed: int = 2020
) -> np.ndarray:
    """Split ``n`` rows into parts at random, within each group (the papers: within each user).

    The random order comes from ``numpy.random.RandomState``, whose stream NumPy has frozen: the
    same rows in the same order and the same seed give the same split under every version.

    Args:
        groups: the group (user) of each row, shape ``(n,)``, anything sortable; ``None`` takes
            all rows as one group.
        n: the number of rows.
        ratios: one positive number for each part; at most 256 of them.
        seed: of the random order.

    Returns:
        The part of each row (0 is train), ``uint8`` of shape ``(n,)``.  Each group has
        :func:`part_sizes` rows in each part, so at least one in part 0.

    Raises:
        DataError: a ratio is not a positive number, or ``groups`` is not of length ``n``.
    """
    if not 1 <= len(ratios) <= 256 or not all(0 < ratio < float("inf") for ratio in ratios):
        raise DataError(f"split ratios must be positive numbers, not {list(ratios)}")
    if groups is None:
        codes = np.zeros(n, dtype=np.int64)
    else:
        codes = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    if len(codes) != n:
        raise DataError(f"{len(codes)} groups for {n} rows to split")
    if n == 0:
        return np.zeros(0, dtype=np.uint8)

    totals = np.bincount(codes)
    order = np.lexsort((np.random.RandomState(seed).random_sample(n), codes))
    first_row = np.concatenate(([0], np.cumsum(totals)[:-1]))
    rank = np.arange(n) - np.repeat(first_row, totals)  # place within the group's random order
    ends = np.cumsum(part_sizes(totals, ratios), axis=1)
    labels = np.zeros(n, dtype=np.uint8)
    for end in ends[:, :-1].T:
        labels += (rank >= np.repeat(end, totals)).astype(np.uint8)
    result = np.empty(n, dtype=np.uint8)
    result[order] = labels
    return result

"""Equations (7) and (8): which preference center of one side belongs to which of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import at_least_float32

__all__ = ["center_distances", "greedy_matching", "hungarian_matching"]


def center_distances(centers_c: Tensor, centers_l: Tensor) -> Tensor:
    """Euclidean distance of each CF center from each LLM center, equation (7).

    Args:
        centers_c: C_C, shape (K, d).
        centers_l: C_L, shape (K', d).

    Returns:
        shape (K, K').  Taken from the differences, so equal centers are exactly 0 apart, with
        zero gradient there.
    """
    difference = at_least_float32(centers_c).unsqueeze(1) - at_least_float32(centers_l).unsqueeze(0)
    distances: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return distances


@torch.no_grad()
def greedy_matching(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Pair centers, closest pair first, then the closest among the rest, equation (8).

    Stays on the device, and reads nothing back.  Ties go to the lowest row, then the lowest
    column.  An infinite (or NaN) distance is larger than any other: give it to empty clusters, and
    they are paired among what is left over at the end.

    Args:
        distances: shape (K, K'), for instance from :func:`center_distances`.

    Returns:
        ``rows`` and ``columns``, int64, each of length min(K, K'), in the order of the pairing:
        ``centers_c[rows]`` then stands beside ``centers_l[columns]``.
    """
    largest = torch.finfo(distances.dtype).max
    left = distances.nan_to_num(nan=largest, posinf=largest)
    n_pairs, width = min(left.shape), left.shape[1]
    rows = torch.empty(n_pairs, dtype=torch.int64, device=left.device)
    columns = torch.empty_like(rows)
    for pair in range(n_pairs):
        row, column = rows[pair : pair + 1], columns[pair : pair + 1]
        closest = left.argmin().view(1)
        torch.div(closest, width, rounding_mode="floor", out=row)
        torch.remainder(closest, width, out=column)
        left.index_fill_(0, row, torch.inf).index_fill_(1, column, torch.inf)
    return rows, columns


@torch.no_grad()
def hungarian_matching(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Pair centers so that the sum of their distances is least: an alternative to equation (8).

    SciPy solves it on the host, so on an accelerator each call waits for the device and copies
    the distances over and the pairs back.  Infinite (or NaN) distances count as larger than any
    sum of the others.

    Args:
        distances: shape (K, K').

    Returns:
        ``rows`` (ascending) and ``columns``, int64, each of length min(K, K'), on the device of
        ``distances``.
    """
    from scipy.optimize import linear_sum_assignment

    cost = distances.to("cpu", torch.float64)
    finite = cost.isfinite()
    beyond_any_sum = (cost[finite].abs().sum() + 1.0) * 2.0
    rows, columns = linear_sum_assignment(torch.where(finite, cost, beyond_any_sum).numpy())
    return (
        torch.as_tensor(rows, dtype=torch.int64).to(distances.device),
        torch.as_tensor(columns, dtype=torch.int64).to(distances.device),
    )

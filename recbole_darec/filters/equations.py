"""The text filter: a training-free graph filter with a text kernel; this package's own.

``X`` is the binary training matrix ``[n_users, n_items]``, ``d_u`` and ``d_i`` its degrees.  The
co-occurrence part is GF-CF's linear filter (Shen et al., CIKM 2021) with an exponent of its own for
the items; a text kernel as a second item graph is MM-GF's idea (2025); how they are put together,
and that the profiles of users and items meet beside them, is ours.

No ``n x n`` and no ``users x items`` matrix is made: rows of users pass through sparse products
(:mod:`~recbole_darec.filters.cooccurrence`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.numerics.rows import BLOCK_ROWS, at_least_float32, mean_of_units, unit_rows

__all__ = [
    "centred_unit_rows",
    "largest_eigenvalue",
    "mix_in_place",
    "normalised_interactions",
    "normalised_rows",
    "present_rows",
    "row_blocks",
    "standardise_in_place",
    "standardised",
]

# What is left of a row that equals the mean is rounding, not a direction.
_ZERO_ROW = 1e-6
_CACHED_ELEMENTS, _FEWEST_ROWS = 1 << 19, 32  # 2 MiB


def normalised_interactions(
    interactions: Any, user_exponent: float = 0.5, item_exponent: float = 0.3
) -> Any:
    """Return ``Y = D_u^-a X D_i^-b``; a user or an item without interactions has an empty row.

    Args:
        interactions: X, scipy sparse ``[n_users, n_items]``, binary.
        user_exponent: a.
        item_exponent: b; smaller leaves popular items more of their weight.

    Returns:
        scipy CSR float32 of the same shape.
    """
    matrix = sp.csr_matrix(interactions, dtype=np.float32)
    degrees = np.asarray(matrix.sum(0)).ravel()
    return normalised_rows(matrix, degrees, user_exponent, item_exponent)


def normalised_rows(
    rows: Any, item_degrees: np.ndarray, user_exponent: float = 0.5, item_exponent: float = 0.3
) -> Any:
    """Return the rows of Y of users who need not have taken part in it.

    Args:
        rows: what each has taken, scipy sparse ``[b, n_items]``, binary; d_u is the sum of a row.
        item_degrees: d_i, float ``[n_items]``.
        user_exponent: a.
        item_exponent: b.

    Returns:
        scipy CSR float32 of the same shape.
    """
    matrix = sp.csr_matrix(rows, dtype=np.float32)
    factors = []
    users = np.asarray(matrix.sum(1)).ravel()
    for degrees, exponent in ((users, user_exponent), (item_degrees, item_exponent)):
        factor = np.zeros(len(degrees), dtype=np.float32)
        np.power(degrees, -exponent, where=degrees > 0, out=factor)
        factors.append(sp.diags(factor))
    return sp.csr_matrix(factors[0] @ matrix @ factors[1], dtype=np.float32)


def largest_eigenvalue(matrix: Any) -> float:
    """Return the largest eigenvalue of ``YᵀY``, 1 where Y is empty.

    Args:
        matrix: Y, scipy sparse.
    """
    if matrix.nnz == 0:
        return 1.0
    if min(matrix.shape) < 3:
        return float(np.linalg.norm(matrix.toarray(), 2) ** 2)
    from scipy.sparse.linalg import svds

    # A start that does not depend on a random state: the leading vector of a non-negative matrix
    # is non-negative, so that a vector of ones is never orthogonal to it.
    start = np.ones(min(matrix.shape))
    values = svds(matrix.astype(np.float64), k=1, v0=start, return_singular_vectors=False)
    return float(values[0] ** 2)


def centred_unit_rows(rows: Tensor, new: Tensor | None = None) -> Tensor:
    """Return unit rows less their mean, unit again; zero rows (no profile) stay zero.

    Args:
        rows: profile embeddings of one kind, float ``[n, w]``.
        new: others, which are returned in their place, less the mean of ``rows``.

    Returns:
        float32 ``[n, w]``.
    """
    present = present_rows(rows)
    asked = rows if new is None else new
    if not len(present):
        return unit_rows(asked.float())
    mean = mean_of_units(rows, torch.from_numpy(present)).float()
    found = torch.zeros(asked.shape, dtype=torch.float32, device=asked.device)
    for block in _blocks(present if new is None else present_rows(new)):
        units = unit_rows(asked[block].float()) - mean.to(asked.device)
        found[block] = unit_rows(units, eps=_ZERO_ROW)
    return found


def _blocks(numbers: np.ndarray) -> tuple[Tensor, ...]:
    return torch.split(torch.from_numpy(numbers), BLOCK_ROWS)


def row_blocks(n_rows: int, n_columns: int, device: torch.device | None = None) -> Iterator[slice]:
    """Yield slices of the rows of a matrix of float32 that stay in a core's cache.

    What passes over scores more than once finds them there again.  A block has 32 rows at least,
    which pass through a sparse matrix together.  On a GPU all rows are one block.
    """
    height = max(_FEWEST_ROWS, _CACHED_ELEMENTS // max(1, n_columns))
    if device is not None and device.type != "cpu":
        height = max(1, n_rows)
    for start in range(0, n_rows, height):
        yield slice(start, min(start + height, n_rows))


def standardised(scores: Tensor, new: Tensor | None = None) -> Tensor:
    """Return z(scores): each user's scores less their mean, by their deviation.

    Args:
        scores: ``[b, n_items]``; a row of equal scores becomes zero.
        new: scores of other items ``[b, m]``, which are returned in their place.
    """
    mean = scores.mean(1, keepdim=True)
    centred = scores - mean
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / scores.shape[1] ** 0.5
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return (centred if new is None else new - mean) / deviation


def standardise_in_place(scores: Tensor) -> None:
    """Make z(scores) of float32 scores ``[b, n_items]``, in their place."""
    scores.div_(_centre_in_place(scores))


def mix_in_place(scores: Tensor, others: Tensor, weight: float) -> None:
    """Make ``(1 - w) z(scores) + w others`` of scores, in their place.

    Args:
        scores: ``[b, n_items]``, of any float type; what is narrower is computed in float32.
        others: standardised, ``[b, n_items]``.
        weight: w.
    """
    if weight == 1.0:
        scores.copy_(others)
        return
    own = at_least_float32(scores)
    own.mul_((1.0 - weight) / _centre_in_place(own)).add_(others, alpha=weight)
    if own is not scores:
        scores.copy_(own)


def _centre_in_place(scores: Tensor) -> Tensor:
    """Take each row's mean from it; return the deviations ``[b, 1]``, 1 where one is 0."""
    scores.sub_(scores.mean(1, keepdim=True))
    deviation = torch.linalg.vector_norm(scores, dim=1, keepdim=True) / scores.shape[1] ** 0.5
    return torch.where(deviation > 0, deviation, 1.0)


def present_rows(rows: Tensor) -> np.ndarray:
    """Return the numbers of the rows that are not zero, which have a profile; int64."""
    return np.flatnonzero(rows.any(1).cpu().numpy())

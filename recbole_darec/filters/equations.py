"""The text filter: a training-free graph filter with a text kernel; this package's own.

``X`` is the binary training matrix ``[n_users, n_items]``, ``d_u`` and ``d_i`` its degrees.  The
co-occurrence part is GF-CF's linear filter (Shen et al., CIKM 2021) with an exponent of its own for
the items; a text kernel as a second item graph is MM-GF's idea (2025); how they are put together,
and that the profiles of users and items meet beside them, is ours.

No ``n x n`` and no ``users x items`` matrix is made: rows of users pass through sparse products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.numerics.neighbours import nearest_rows
from recbole_darec.numerics.principal import principal_rows
from recbole_darec.numerics.rows import unit_rows

__all__ = [
    "centred_unit_rows",
    "largest_eigenvalue",
    "normalised_interactions",
    "standardised",
    "text_graph",
    "two_step",
]

# What is left of a row that equals the mean is rounding, not a direction.
_ZERO_ROW = 1e-6


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
    factors = []
    for axis, exponent in ((1, user_exponent), (0, item_exponent)):
        degrees = np.asarray(matrix.sum(axis)).ravel()
        factor = np.zeros_like(degrees)
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


def two_step(rows: Any, matrix: Any, transpose: Any, eigenvalue: float) -> Any:
    """Return ``rows · P`` with ``P = YᵀY / eigenvalue``, by two products and without P.

    Args:
        rows: ``[b, n_items]``, scipy sparse or a NumPy array; the result is of the same kind.
        matrix: Y, scipy CSR ``[n_users, n_items]``.
        transpose: Yᵀ, scipy CSR.
        eigenvalue: of :func:`largest_eigenvalue`.
    """
    return ((rows @ transpose) @ matrix) * np.float32(1.0 / eigenvalue)


def text_graph(rows: Tensor, *, width: int = 128, n_neighbours: int = 20) -> Any:
    """Return the graph T of nearest profiles, ``D^-1/2 T D^-1/2``.

    The rows are made unit, centred, and taken in their leading directions (singular values kept),
    unit again; the cosines of the nearest ones, negatives 0, are squared and made symmetric by the
    larger of both.  A zero row has no profile: it has no neighbour, and counts in no mean.

    Args:
        rows: profile embeddings of one kind, float ``[n, w]``.
        width: number of leading directions.
        n_neighbours: nearest ones of a row.

    Returns:
        scipy CSR float32 ``[n, n]``, symmetric, with a zero diagonal.
    """
    n = len(rows)
    present = _present(rows)
    if len(present) < 2:
        return sp.csr_matrix((n, n), dtype=np.float32)
    numbers, cosines = nearest_rows(
        principal_rows(rows[torch.from_numpy(present)], width), n_neighbours
    )
    near = cosines.cpu().numpy().clip(min=0.0) ** 2
    own = np.repeat(present, near.shape[1])
    graph = sp.csr_matrix(
        (near.ravel(), (own, present[numbers.cpu().numpy().ravel()])), shape=(n, n)
    )
    graph = graph.maximum(graph.T)
    graph.eliminate_zeros()
    return _symmetric(graph)


def _symmetric(graph: Any) -> Any:
    """Return ``D^-1/2 G D^-1/2`` of a symmetric graph of non-negative weights."""
    degrees = np.asarray(graph.sum(1)).ravel()
    factor = np.zeros_like(degrees)
    np.power(degrees, -0.5, where=degrees > 0, out=factor)
    scale = sp.diags(factor)
    return sp.csr_matrix(scale @ graph @ scale, dtype=np.float32)


def centred_unit_rows(rows: Tensor) -> Tensor:
    """Return unit rows less their mean, unit again; zero rows (no profile) stay zero.

    Args:
        rows: profile embeddings of one kind, float ``[n, w]``.

    Returns:
        float32 ``[n, w]``.
    """
    found = unit_rows(rows.float())
    present = torch.from_numpy(_present(rows)).to(rows.device)
    if len(present):
        found[present] = unit_rows(found[present] - found[present].mean(0), eps=_ZERO_ROW)
    return found


def standardised(scores: Tensor) -> Tensor:
    """Return z(scores): each user's scores less their mean, by their deviation.

    Args:
        scores: ``[b, n_items]``; a row of equal scores becomes zero.
    """
    centred = scores - scores.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1.0)


def _present(rows: Tensor) -> np.ndarray:
    """Return the numbers of the rows that are not zero."""
    return np.flatnonzero((rows != 0).any(1).cpu().numpy())

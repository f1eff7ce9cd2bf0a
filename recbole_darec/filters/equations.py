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

from recbole_darec.numerics.neighbours import nearest_among, nearest_rows
from recbole_darec.numerics.principal import PrincipalDirections, principal_rows
from recbole_darec.numerics.rows import unit_rows

__all__ = [
    "centred_unit_rows",
    "largest_eigenvalue",
    "normalised_interactions",
    "standardised",
    "text_graph",
    "text_graph_to",
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
    return _symmetric(_nearest(rows, width, n_neighbours))


def text_graph_to(rows: Tensor, new: Tensor, *, width: int = 128, n_neighbours: int = 20) -> Any:
    """Return the columns that new rows would have in the graph T of :func:`text_graph`.

    A new row's neighbours are looked for among ``rows``, in their directions; the degrees of these
    are those that they have without it.

    Args:
        rows: profile embeddings of one kind, float ``[n, w]``.
        new: others of the same kind, float ``[m, w]``.
        width: number of leading directions.
        n_neighbours: nearest ones of a row.

    Returns:
        scipy CSR float32 ``[n, m]``.
    """
    present, asked = _present(rows), _present(new)
    shape = (len(rows), len(new))
    if len(present) < 2 or not len(asked):
        return sp.csr_matrix(shape, dtype=np.float32)
    directions = PrincipalDirections.of(rows[torch.from_numpy(present)], width)
    numbers, cosines = nearest_among(
        directions(new[torch.from_numpy(asked)]),
        directions(rows[torch.from_numpy(present)]),
        n_neighbours,
    )
    near = cosines.cpu().numpy().clip(min=0.0) ** 2
    columns = np.repeat(asked, near.shape[1])
    found = sp.csr_matrix(
        (near.ravel(), (present[numbers.cpu().numpy().ravel()], columns)), shape=shape
    )
    known = _nearest(rows, width, n_neighbours).sum(1)
    scaled = _scale(known) @ found @ _scale(found.sum(0))
    return sp.csr_matrix(scaled, dtype=np.float32)


def _nearest(rows: Tensor, width: int, n_neighbours: int) -> Any:
    """Return the symmetric graph of squared cosines."""
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
    return graph


def _symmetric(graph: Any) -> Any:
    """Return ``D^-1/2 G D^-1/2`` of a symmetric graph of non-negative weights."""
    scale = _scale(graph.sum(1))
    return sp.csr_matrix(scale @ graph @ scale, dtype=np.float32)


def _scale(degrees: Any) -> Any:
    """Return ``D^-1/2``, scipy sparse diagonal, with 0 for a degree of 0."""
    degrees = np.asarray(degrees).ravel()
    factor = np.zeros_like(degrees)
    np.power(degrees, -0.5, where=degrees > 0, out=factor)
    return sp.diags(factor)


def centred_unit_rows(rows: Tensor, new: Tensor | None = None) -> Tensor:
    """Return unit rows less their mean, unit again; zero rows (no profile) stay zero.

    Args:
        rows: profile embeddings of one kind, float ``[n, w]``.
        new: others, which are returned in their place, less the mean of ``rows``.

    Returns:
        float32 ``[n, w]``.
    """
    found = unit_rows(rows.float())
    present = torch.from_numpy(_present(rows)).to(rows.device)
    if not len(present):
        return found if new is None else unit_rows(new.float())
    mean = found[present].mean(0)
    if new is not None:
        found, present = unit_rows(new.float()), torch.from_numpy(_present(new)).to(new.device)
    found[present] = unit_rows(found[present] - mean, eps=_ZERO_ROW)
    return found


def standardised(scores: Tensor, new: Tensor | None = None) -> Tensor:
    """Return z(scores): each user's scores less their mean, by their deviation.

    Args:
        scores: ``[b, n_items]``; a row of equal scores becomes zero.
        new: scores of other items ``[b, m]``, which are returned in their place.
    """
    mean = scores.mean(1, keepdim=True)
    centred = scores - mean
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    centred = centred if new is None else new - mean
    return centred / torch.where(deviation > 0, deviation, 1.0)


def _present(rows: Tensor) -> np.ndarray:
    """Return the numbers of the rows that are not zero."""
    return np.flatnonzero((rows != 0).any(1).cpu().numpy())

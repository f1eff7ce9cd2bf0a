"""Training items that are held out, for a filter's weights to be found by."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["FEWEST", "hold_out", "hold_out_latest"]

FEWEST = 3
"""Training items of a user of whom some are held out."""
_SHARE = 0.2


def hold_out(interactions: Any, seed: int = 0) -> tuple[Any, Any]:
    """Split X into what is kept and a fifth of the items of each user who has three or more.

    Args:
        interactions: scipy CSR ``[n_users, n_items]``.
        seed: of the choice; NumPy's RandomState, whose stream is the same in every version.

    Returns:
        the kept and the held-out part, scipy CSR of the same shape.

    Raises:
        ValueError: no user has three items.
    """
    matrix = sp.csr_matrix(interactions)
    counts = np.diff(matrix.indptr)
    taken = np.where(counts >= FEWEST, np.maximum(1, (counts * _SHARE).astype(np.int64)), 0)
    if not taken.any():
        raise ValueError(f"no user has {FEWEST} training items or more")
    place = _places(matrix, np.random.RandomState(seed).random_sample(matrix.nnz))
    held = place < np.repeat(taken, counts)
    return _chosen(matrix, ~held), _chosen(matrix, held)


def hold_out_latest(order: Any, later: int = 0) -> tuple[Any, Any]:
    """Split X into what users took before an item, and that one: their last, or one before it.

    Args:
        order: scipy CSR ``[n_users, n_items]``; where X has a 1, a number that is greater for what
            a user took later.
        later: what a user took after the item, which is in neither part.  A user with fewer than
            three items more is kept whole.

    Returns:
        the kept and the held-out part, scipy CSR of the same shape.

    Raises:
        ValueError: no user has as many items.
    """
    matrix = sp.csr_matrix(order)
    counts = np.diff(matrix.indptr)
    split = np.repeat(counts >= FEWEST + later, counts)
    if not split.any():
        raise ValueError(f"no user has {FEWEST + later} training items or more")
    after = _places(matrix, -matrix.data)
    return _chosen(matrix, ~split | (after > later)), _chosen(matrix, split & (after == later))


def _places(matrix: Any, numbers: np.ndarray) -> np.ndarray:
    """Return the place of each entry in its row, from 0, in ascending order of numbers."""
    counts = np.diff(matrix.indptr)
    order = np.lexsort((numbers, np.repeat(np.arange(len(counts)), counts)))
    place = np.empty(matrix.nnz, dtype=np.int64)
    place[order] = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    return place


def _chosen(matrix: Any, chosen: np.ndarray) -> Any:
    """Return some entries of a matrix, each as 1."""
    user = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[chosen]
    ones = np.ones(len(user), np.float32)
    return sp.csr_matrix((ones, (user, matrix.indices[chosen])), shape=matrix.shape)

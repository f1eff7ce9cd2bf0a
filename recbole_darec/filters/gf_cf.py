"""GF-CF (Shen et al., *How Powerful is Graph Convolution for Recommendation?*, CIKM 2021).

A linear filter over co-occurrence and an ideal low pass over its leading singular vectors; written
from the paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from recbole_darec.filters.equations import normalised_interactions

__all__ = ["GraphFilter", "leading_right_vectors"]


class GraphFilter:
    """``X (R̃ᵀR̃ + alpha D_i^-1/2 V Vᵀ D_i^1/2)`` with ``R̃ = D_u^-1/2 X D_i^-1/2``.

    Args:
        interactions: X, scipy sparse ``[n_users, n_items]``, binary.
        weight: alpha, of the low pass; 0 leaves it out.
        width: number of leading right singular vectors V of R̃; limited by what X has.
    """

    def __init__(self, interactions: Any, *, weight: float = 0.3, width: int = 256) -> None:
        self._x = sp.csr_matrix(interactions, dtype=np.float32)
        self._y = normalised_interactions(self._x, 0.5, 0.5)
        self._transpose = sp.csr_matrix(self._y.T)
        self._before: np.ndarray | None = None
        if weight:
            vectors = leading_right_vectors(self._y, width)
            root = np.sqrt(np.asarray(self._x.sum(0)).ravel())[:, None]
            inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
            self._before = (inverse * vectors).astype(np.float32)
            self._after = (weight * vectors * root).T.astype(np.float32)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return the scores of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
        """
        rows = self._x[users]
        found: np.ndarray = ((rows @ self._transpose) @ self._y).toarray()
        if self._before is not None:
            found += (rows @ self._before) @ self._after
        return found


def leading_right_vectors(matrix: Any, width: int) -> np.ndarray:
    """Return the leading right singular vectors, float64 ``[n_items, min(width, rank)]``.

    Args:
        matrix: scipy sparse ``[n_users, n_items]``.
        width: how many.
    """
    if width < min(matrix.shape) - 1:
        from scipy.sparse.linalg import svds

        start = np.ones(min(matrix.shape))  # no random state; see largest_eigenvalue
        _, values, right = svds(matrix.astype(np.float64), k=width, v0=start)
    else:
        _, values, right = np.linalg.svd(matrix.toarray().astype(np.float64), full_matrices=False)
    order = np.argsort(-values)[:width]
    kept = order[values[order] > 1e-6]
    vectors: np.ndarray = right[kept].T
    return vectors

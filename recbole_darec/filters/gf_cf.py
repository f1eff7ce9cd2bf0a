"""GF-CF (Shen et al., *How Powerful is Graph Convolution for Recommendation?*, CIKM 2021).

A linear filter over co-occurrence and an ideal low pass over its leading singular vectors; written
from the paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from recbole_darec.filters.equations import normalised_interactions
from recbole_darec.filters.low_pass import LowPass

__all__ = ["GraphFilter"]


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
        self._weight = weight
        self._low_pass = LowPass(self._x, width) if weight else None

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return the scores of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
        """
        rows = self._x[users]
        found: np.ndarray = ((rows @ self._transpose) @ self._y).toarray()
        if self._low_pass is not None:
            # The low pass has the users' degrees in it, which GF-CF leaves out.
            root = np.sqrt(np.diff(rows.indptr)).astype(np.float32)[:, None]
            found += (self._weight * root) * self._low_pass.scores(users)
        return found

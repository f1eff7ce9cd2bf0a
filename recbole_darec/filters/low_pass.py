"""The ideal low pass over co-occurrence, of GF-CF (Shen et al., CIKM 2021).

``D_u^-1/2 X D_i^-1/2 V Vᵀ D_i^1/2``: what the leading right singular vectors V of
``R̃ = D_u^-1/2 X D_i^-1/2`` keep of a user's items.
"""

from __future__ import annotations

import inspect
from copy import copy
from typing import Any

import numpy as np

from recbole_darec.filters.equations import normalised_interactions
from recbole_darec.filters.recency import faded

__all__ = ["LowPass", "leading_right_vectors"]

_EXACT = 20_000  # users or items up to which the vectors are those of ARPACK


class LowPass:
    """The scores that pass, a batch of users at a time.

    Args:
        interactions: X, scipy sparse ``[n_users, n_items]``, binary.
        width: number of singular vectors; limited by the rank of X.

    Attributes:
        after: ``Vᵀ D_i^1/2``, float32 ``[width, n_items]``.
    """

    def __init__(self, interactions: Any, width: int) -> None:
        self._rows = normalised_interactions(interactions, 0.5, 0.5)
        vectors = leading_right_vectors(self._rows, width)
        root = np.sqrt(np.asarray(interactions.sum(0)).ravel())[:, None]
        self._before = vectors.astype(np.float32)
        self.after = np.ascontiguousarray((vectors * root).T, dtype=np.float32)

    def fading(self, order: Any, recency: float) -> LowPass:
        """Return the same low pass of the users' rows by recency; see :func:`.recency.faded`."""
        return self.of(faded(self._rows, order, recency))

    def of(self, rows: Any) -> LowPass:
        """Return the same low pass of other users: rows of R̃, scipy CSR ``[b, n_items]``."""
        found = copy(self)
        found._rows = rows
        return found

    def scores(self, users: np.ndarray, width: int | None = None) -> np.ndarray:
        """Return the rows of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
            width: fewer of the singular vectors, the leading ones.
        """
        found: np.ndarray = self.factors(users, width) @ self.after[:width]
        return found

    def factors(self, users: np.ndarray, width: int | None = None) -> np.ndarray:
        """Return the rows of ``R̃ V`` of some users, float32 ``[b, width]``, as :meth:`scores`."""
        found: np.ndarray = self._rows[users] @ self._before[:, :width]
        return found


def leading_right_vectors(matrix: Any, width: int) -> np.ndarray:
    """Return the leading right singular vectors, float64 ``[n_items, min(width, rank)]``.

    Of a large matrix they are found by random projections and eight passes (Halko et al., SIAM
    Review 2011), which comes near the same directions and takes less time.
    The same matrix gives the same ones, whatever was computed before.

    Args:
        matrix: scipy sparse ``[n_users, n_items]``.
        width: how many.
    """
    if min(matrix.shape) > _EXACT:
        from sklearn.utils.extmath import randomized_svd

        _, values, right = randomized_svd(
            matrix, width, n_oversamples=width // 2, n_iter=8, random_state=0
        )
    elif width < min(matrix.shape) - 1:
        values, right = _by_lanczos(matrix.astype(np.float64), width)
    else:
        _, values, right = np.linalg.svd(matrix.toarray().astype(np.float64), full_matrices=False)
    order = np.argsort(-values)[:width]
    kept = order[values[order] > 1e-6]
    vectors: np.ndarray = right[kept].T
    return vectors


def _by_lanczos(matrix: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values ``[k]`` and right vectors ``[k, n_items]``, as SciPy's ``svds`` does.

    That starts at random unless it is told where, and again at random, which it cannot be told,
    where its space ends: at once from a vector of ones, where all degrees are alike.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T.tocsr()
    n = tall.shape[1]
    across = tall.T.tocsr()
    product = LinearOperator((n, n), matvec=lambda x: across @ (tall @ x), dtype=np.float64)
    # All above 0, so that it is orthogonal to no leading vector of a non-negative matrix.
    start = np.random.RandomState(0).uniform(0.5, 1.5, n)
    seed = {"rng": 0} if "rng" in inspect.signature(eigsh).parameters else {}
    _, found = eigsh(product, k=width, v0=start, **seed)
    outer, values, inner = np.linalg.svd(tall @ found, full_matrices=False)
    return values, (inner @ found.T if tall is matrix else outer.T)

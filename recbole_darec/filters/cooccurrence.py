"""Products with P, co-occurrence by its largest eigenvalue, without a dense matrix of items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_darec.filters.equations import largest_eigenvalue, row_blocks

__all__ = ["Cooccurrence"]

# Entries of a sparse YᵀY that is kept: 240 MB at the most.  Above, rows pass through Y twice.
_KEPT_ENTRIES = 30_000_000
# Above this share of users reached by a block's rows, dense columns pass through Y faster.
_SPARSE_SHARE = 1 / 16


class Cooccurrence:
    """``P = YᵀY / eigenvalue``.

    Args:
        matrix: Y, scipy CSR ``[n_users, n_items]``.

    Attributes:
        eigenvalue: the largest of ``YᵀY``.
    """

    def __init__(self, matrix: Any) -> None:
        self._y = matrix
        self._transpose = sp.csr_matrix(matrix.T)
        self.eigenvalue = largest_eigenvalue(matrix)
        self._gram: Any = None
        # Each user's pairs of items bound the entries of the product.
        pairs = np.square(np.diff(matrix.indptr).astype(np.float64)).sum()
        if pairs <= _KEPT_ENTRIES:
            self._gram = (self._transpose @ matrix) * np.float32(1.0 / self.eigenvalue)
        self._tensors: tuple[torch.Tensor, torch.Tensor] | None = None

    def of(self, rows: Any) -> Any:
        """Return ``rows P``, scipy CSR or a NumPy array ``[b, n_items]``.

        Args:
            rows: scipy CSR ``[b, n_items]``.
        """
        if self._gram is not None:
            return rows @ self._gram
        users = rows @ self._transpose
        users *= np.float32(1.0 / self.eigenvalue)
        if users.nnz <= _SPARSE_SHARE * users.shape[0] * users.shape[1]:
            return users @ self._y
        _, transpose = self._as_tensors()
        return _in_columns(users.toarray(), self._y.shape[1], lambda columns: transpose @ columns)

    def of_dense(self, rows: np.ndarray) -> np.ndarray:
        """Return ``rows P`` of dense rows, as products of sparse matrices with columns.

        Args:
            rows: float32 ``[b, n_items]``.
        """
        matrix, transpose = self._as_tensors()
        found = _in_columns(rows, rows.shape[1], lambda columns: transpose @ (matrix @ columns))
        found /= np.float32(self.eigenvalue)
        return found

    def _as_tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._tensors is None:
            self._tensors = _tensor(self._y), _tensor(self._transpose)
        return self._tensors


def _in_columns(
    rows: np.ndarray, width: int, product: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """Return ``[b, width]``: a product with the rows as columns, a block of rows at a time."""
    given = torch.from_numpy(rows)
    found = torch.empty(len(rows), width)
    for block in row_blocks(*found.shape):
        found[block] = product(given[block].T.contiguous()).T
    return found.numpy()


def _tensor(matrix: Any) -> torch.Tensor:
    """Return a scipy CSR matrix as torch's, whose products with columns are the faster ones."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data),
        size=matrix.shape,
        check_invariants=False,
    )

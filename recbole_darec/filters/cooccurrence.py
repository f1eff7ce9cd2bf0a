"""Products with P, co-occurrence by its largest eigenvalue, without a dense matrix of items."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.filters.equations import largest_eigenvalue, row_blocks
from recbole_darec.numerics import csr_product

__all__ = ["Cooccurrence", "csr_tensor"]

# Entries of a sparse YᵀY that is kept: 240 MB at the most.  Above, rows pass through Y twice.
_KEPT_ENTRIES = 30_000_000
# A multiplication in a product of sparse matrices takes so many times as long as one with a column:
# SciPy's, and MKL's that is summed up where it stands.
_SPARSE_COST, _WRITTEN_COST = 48, 16
# Above this share of users reached by a block's rows, dense columns pass through Y faster.
_SPARSE_SHARE = 1 / 16


class Cooccurrence:
    """``P = YᵀY / eigenvalue``.

    Args:
        matrix: Y, scipy CSR ``[n_users, n_items]``.

    Attributes:
        eigenvalue: the largest of ``YᵀY``.
        kept: P, scipy CSR, where it has 30 million entries at the most, else None.
    """

    def __init__(self, matrix: Any) -> None:
        self._y = matrix
        self._transpose = sp.csr_matrix(matrix.T)
        self.eigenvalue = largest_eigenvalue(matrix)
        self.kept: Any = None
        # Each user's pairs of items bound the entries of the product.
        pairs = np.square(np.diff(matrix.indptr).astype(np.float64)).sum()
        if pairs <= _KEPT_ENTRIES:
            self.kept = (self._transpose @ matrix) * np.float32(1.0 / self.eigenvalue)
        self._tensors: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def of(self, rows: Any) -> Any:
        """Return ``rows P``, scipy CSR or a NumPy array ``[b, n_items]``.

        Args:
            rows: scipy CSR ``[b, n_items]``.
        """
        if self.kept is not None:
            return rows @ self.kept
        users = rows @ self._transpose
        users *= np.float32(1.0 / self.eigenvalue)
        if users.nnz <= _SPARSE_SHARE * users.shape[0] * users.shape[1]:
            return users @ self._y
        found = np.empty(rows.shape, dtype=np.float32)
        transpose = self._on(torch.device("cpu"))[1]
        for block in row_blocks(*rows.shape):
            columns = torch.from_numpy(np.ascontiguousarray(users[block].toarray().T))
            found[block] = csr_product(transpose, columns).T.numpy()
        return found

    def of_sparse(self, rows: Any) -> Any:
        """Return what :meth:`of` does, scipy CSR, through Y; None where columns take less time.

        Args:
            rows: scipy CSR ``[b, n_items]``.
        """
        users = rows @ self._transpose
        if self._work(users, self._y, _SPARSE_COST) > self._work_of_columns(rows):
            return None
        return (users @ self._y) * np.float32(1.0 / self.eigenvalue)

    def writes_less(self, rows: Any) -> bool:
        """Tell whether a product of rows with the kept P is less work than one with columns.

        Args:
            rows: scipy CSR ``[b, n_items]``.
        """
        work = self._work(rows, self.kept, _WRITTEN_COST)
        return work <= self._work_of_columns(rows)

    def _work(self, rows: Any, matrix: Any, cost: int) -> int:
        return cost * int(np.diff(matrix.indptr)[rows.indices].sum(dtype=np.int64))

    def _work_of_columns(self, rows: Any) -> int:
        return 2 * int(self._y.nnz) * int(rows.shape[0])

    def of_dense(self, rows: np.ndarray) -> np.ndarray:
        """Return ``rows P`` of dense rows, as products of sparse matrices with columns.

        Args:
            rows: float32 ``[b, n_items]``.
        """
        given, found = torch.from_numpy(rows), np.empty(rows.shape, dtype=np.float32)
        for block in row_blocks(len(rows), rows.shape[1]):
            found[block] = self.of_columns(given[block].T.contiguous()).T.numpy()
        return found

    def of_columns(self, columns: Tensor) -> Tensor:
        """Return ``P columns``, which is ``(columnsᵀ P)ᵀ``, where the columns are.

        Args:
            columns: float32 ``[n_items, b]``.
        """
        matrix, transpose = self._on(columns.device)
        return csr_product(transpose, csr_product(matrix, columns)).div_(self.eigenvalue)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return Y and its transpose on a device, sparse CSR."""
        if device not in self._tensors:
            self._tensors[device] = (
                csr_tensor(self._y, device),
                csr_tensor(self._transpose, device),
            )
        return self._tensors[device]


def csr_tensor(matrix: Any, device: torch.device) -> Tensor:
    """Return a scipy CSR matrix as torch's; on a CPU its values are not copied."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr),
        torch.from_numpy(matrix.indices),
        torch.from_numpy(matrix.data),
        size=matrix.shape,
        check_invariants=False,
    ).to(device)

"""Products of sparse matrices with dense ones."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast

__all__ = ["csr_product", "write_sparse_product"]


def csr_product(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return ``matrix @ rows``, without a gradient, ``[n, d]``.

    On a CPU as PyTorch's bags of embeddings, each of which is a row's weighted sum: several times
    as fast as its product, which copies the matrix for the library that it calls.  The sums are
    the same to rounding.

    Args:
        matrix: sparse CSR ``[n, m]``.
        rows: dense ``[m, d]``, of the matrix's type.
    """
    if rows.device.type == "cpu" and rows.dtype == torch.float32 and rows.numel():
        bags = torch.embedding_bag(
            rows.detach().contiguous(),
            matrix.col_indices(),
            matrix.crow_indices(),
            mode=0,  # a sum
            per_sample_weights=matrix.values().detach(),
            include_last_offset=True,
        )
        return bags[0]
    # Mixed precision has no sparse kernels.
    with no_autocast(rows):
        product: Tensor = matrix @ rows
        return product


def write_sparse_product(first: Tensor, second: Tensor, out: Tensor) -> bool:
    """Write the dense product of two sparse matrices, on a CPU, where torch has MKL for it.

    MKL adds up right where the sums stand: half of the time of a sparse product made dense.

    Args:
        first: sparse CSR ``[n, m]``.
        second: sparse CSR ``[m, d]``, of the same type, with int32 indices as the first.
        out: dense ``[n, d]``, contiguous.

    Returns:
        whether it was done.
    """
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    if not first.values().numel():
        out.zero_()
        return True
    torch.addmm(out, first, second, beta=0, out=out)
    return True

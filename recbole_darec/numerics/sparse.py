"""Products of sparse matrices with dense ones."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast

__all__ = ["csr_product"]


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

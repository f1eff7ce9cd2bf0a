"""Several products as one: what a mixture of experts ranks with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["folded"]


def folded(tables: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return [w_1 V_1 ; ... ; w_K V_K], shape (N, K d).

    The product with [u_1 ; ... ; u_K] is the sum of the experts' weighted scores.

    Args:
        tables: V_k, K of shape (N, d).
        weights: shape (N, K).
    """
    return torch.cat([table * weights[:, k, None] for k, table in enumerate(tables)], dim=1)

"""PAD's equation (16): InfoNCE between two sides of the same items."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import unit_rows

__all__ = ["info_nce"]


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean over i of -log softmax_j(cos(x_i, y_j) / temperature) at j = i.

    Args:
        first: X, shape (n, d), n >= 1.
        second: Y, shape (n, d), row by row of the same items.
        temperature: above 0.

    Returns:
        a scalar; 0 where n is 1.
    """
    logits = unit_rows(first) @ unit_rows(second).t() / temperature
    own = torch.arange(len(logits), device=logits.device)
    return torch.nn.functional.cross_entropy(logits, own)

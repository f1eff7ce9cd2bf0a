"""PAD's equation (16): InfoNCE between two sides of the same items."""

from __future__ import annotations

from torch import Tensor

from recbole_darec.numerics import contrast

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
    return contrast.info_nce(first, second, second, temperature) / len(first)

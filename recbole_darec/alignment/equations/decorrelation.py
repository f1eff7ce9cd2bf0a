"""How much two groups of columns say the same, by their linear correlation."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["decorrelation"]


def decorrelation(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared correlation of a column of ``one`` with a column of ``other``.

    Args:
        one: float (N, a), N >= 1.
        other: float (N, b), of the same entities.

    Returns:
        a scalar in [0, 1].  A column that is constant correlates with none, and has no gradient.
    """
    product = _standardised(one).t() @ _standardised(other) / len(one)
    return product.square().mean()


def _standardised(rows: Tensor) -> Tensor:
    """Return the columns with mean 0 and variance 1; a constant one is 0."""
    centred = rows - rows.mean(0)
    variance = centred.square().mean(0)
    # Rounding leaves a constant column a variance of its own tiny size.
    floor = torch.finfo(rows.dtype).eps ** 2 * rows.detach().square().mean(0)
    moved = variance > floor
    scale = torch.where(moved, variance, torch.ones_like(variance)).rsqrt()
    return torch.where(moved, centred * scale, torch.zeros_like(centred))

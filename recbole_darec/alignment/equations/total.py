"""Equation (11): the loss that is minimised."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

__all__ = ["total_loss"]


def total_loss(
    base: Tensor, parts: Mapping[str, Tensor], weights: Mapping[str, float], lam: float
) -> Tensor:
    """Base loss plus λ times the weighted alignment losses, equation (11).

    Args:
        base: L_base of the backbone, a scalar.
        parts: the alignment losses by name, scalars.
        weights: a factor by name, 1 for a name that is absent, as in the paper.  Names without a
            part are ignored: that part is switched off.
        lam: λ.

    Returns:
        a scalar.  A part whose factor is 0, and every part when λ is 0, is left out of the graph,
        so nothing that happens to it (NaN included) reaches the sum or a gradient.
    """
    total = base
    for name, part in parts.items():
        factor = lam * weights.get(name, 1.0)
        if factor != 0.0:
            total = total + factor * part
    return total

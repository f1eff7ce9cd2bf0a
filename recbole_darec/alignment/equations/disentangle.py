"""Equation (1): the split of a representation into a shared and a specific part."""

from __future__ import annotations

from typing import Callable

from torch import Tensor

__all__ = ["disentangle"]


def disentangle(
    rows: Tensor,
    to_shared: Callable[[Tensor], Tensor],
    to_specific: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Project one side's representation onto its shared and its specific part, equation (1).

    Args:
        rows: E^C or E^L, shape (N, width of that side): users and items stacked.
        to_shared: f_sh of that side, usually an MLP; (N, width) to (N, d).
        to_specific: f_sp of that side, likewise.

    Returns:
        E_sh and E_sp, each of shape (N, d).
    """
    return to_shared(rows), to_specific(rows)

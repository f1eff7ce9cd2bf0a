"""Equation (2): the specific and the shared part of a row should have nothing in common."""

from __future__ import annotations

from torch import Tensor

from recbole_darec.numerics.rows import unit_rows

__all__ = ["orthogonality"]


def orthogonality(specific: Tensor, shared: Tensor) -> Tensor:
    """Mean over the rows of cos(specific, shared)², one side of equation (2).

    The loss of the paper is the sum of this over the CF side and the LLM side.

    Args:
        specific: E_sp, shape (N, d).
        shared: E_sh of the same rows, shape (N, d).

    Returns:
        a scalar in [0, 1].  The cosine with a zero row is 0 with zero gradient; no rows give 0.
    """
    cosine = (unit_rows(specific) * unit_rows(shared)).sum(-1)
    return cosine.square().sum() / max(cosine.shape[0], 1)

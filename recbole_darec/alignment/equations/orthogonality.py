"""Equation (2): the specific and the shared part of a row should have nothing in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_darec.numerics.rows import at_least_float32, inverse_lengths, no_autocast

__all__ = ["orthogonality"]


def orthogonality(specific: Tensor, shared: Tensor) -> Tensor:
    """Mean over the rows of cos(specific, shared)², one side of equation (2).

    The loss of the paper is the sum of this over the CF side and the LLM side.

    Args:
        specific: E_sp, shape (N, d).
        shared: E_sh of the same rows, shape (N, d).

    Returns:
        a scalar in [0, 1].  The cosine with a zero row is 0 with zero gradient; no rows give 0.
        First derivatives only.
    """
    specific, shared = at_least_float32(specific), at_least_float32(shared)
    with no_autocast(specific):
        total: Tensor = _SquaredCosines.apply(specific, shared)  # type: ignore[no-untyped-call]
    return total / max(specific.shape[0], 1)


class _SquaredCosines(torch.autograd.Function):
    """Sum over the rows of cos(x, y)².

    With c the cosine and u, v the unit rows, the gradient to x is 2c (v - c u) / ‖x‖.
    """

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        eps = torch.finfo(first.dtype).eps
        one, other = inverse_lengths(first, eps), inverse_lengths(second, eps)
        units = first * one, second * other
        cosine = (units[0] * units[1]).sum(-1, keepdim=True)
        ctx.save_for_backward(*units, one, other, cosine)
        return cosine.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        first, second, one, other, cosine = ctx.saved_tensors
        twice = cosine * (2.0 * grad)
        return (
            torch.addcmul(second, cosine, first, value=-1.0).mul_(twice * one),
            torch.addcmul(first, cosine, second, value=-1.0).mul_(twice * other),
        )

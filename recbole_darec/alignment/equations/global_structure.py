"""Equations (4) and (5): all similarities among rows should agree between the two sides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_darec.numerics.rows import at_least_float32, no_autocast

__all__ = ["global_structure", "global_structure_of", "grams"]

_SCALES = ("mean", "none")


def global_structure(shared_c: Tensor, shared_l: Tensor, *, scale: str = "mean") -> Tensor:
    """Squared Frobenius distance of the two similarity matrices, equations (4) and (5).

    With A = E_sh^C and B = E_sh^L the value of ‖A Aᵀ - B Bᵀ‖_F² is
    ‖AᵀA‖_F² + ‖BᵀB‖_F² - 2 ‖AᵀB‖_F²: time O(N d²) and memory O(d²) in place of N², so that all
    users and items can take part.  The three squares cancel when the sides agree.  Half-precision
    input is therefore computed in float32, squares and their difference in float64, and a
    difference that rounding made negative is returned as 0.  What is left is the rounding of the
    float32 products, of the order of √N · (machine epsilon) · (‖AᵀA‖_F² + ‖BᵀB‖_F²) at worst (seen
    at d = 8) and 100 times less at d = 64; squares in float32 would be 3 to 10 times worse there.

    Args:
        shared_c: E_sh^C, shape (N, d).
        shared_l: E_sh^L of the same rows, shape (N, d'); the widths may differ.
        scale: ``"none"`` as printed, which grows with N²; ``"mean"`` divides by N², so that unit
            rows give a value in [0, 4] whatever the sample.

    Returns:
        a scalar >= 0, in float32 for half-precision input; no rows give 0.  First derivatives only.

    Raises:
        ValueError: an unknown ``scale``, or sides with different numbers of rows.
    """
    n = shared_c.shape[0]
    if shared_l.shape[0] != n:
        raise ValueError(f"the two sides have {n} and {shared_l.shape[0]} rows")
    shared_c, shared_l = at_least_float32(shared_c), at_least_float32(shared_l)
    with no_autocast(shared_c):
        value: Tensor = _SquaredDistance.apply(shared_c, shared_l, scale)  # type: ignore[no-untyped-call]
    return value


class _SquaredDistance(torch.autograd.Function):
    """‖A Aᵀ - B Bᵀ‖_F², scaled; its gradient to A is 4 (A AᵀA - B BᵀA), two products."""

    @staticmethod
    def forward(ctx: Any, shared_c: Tensor, shared_l: Tensor, scale: str) -> Tensor:
        products = grams(shared_c, shared_l)
        ctx.save_for_backward(shared_c, shared_l, *products)
        ctx.factor = 4.0 * _factor(len(shared_c), scale)
        return global_structure_of(products, len(shared_c), scale=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        shared_c, shared_l, of_c, of_l, mixed = ctx.saved_tensors
        grad = grad * ctx.factor
        mixed = mixed * grad
        to_c = torch.addmm(shared_l @ mixed.t(), shared_c, of_c * grad, beta=-1.0)
        to_l = torch.addmm(shared_c @ mixed, shared_l, of_l * grad, beta=-1.0)
        return to_c, to_l, None


def grams(shared_c: Tensor, shared_l: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return AᵀA, BᵀB and AᵀB of the two sides, which add up over blocks of rows."""
    shared_c, shared_l = at_least_float32(shared_c), at_least_float32(shared_l)
    with no_autocast(shared_c):
        return shared_c.t() @ shared_c, shared_l.t() @ shared_l, shared_c.t() @ shared_l


def global_structure_of(
    products: tuple[Tensor, Tensor, Tensor], n: int, *, scale: str = "mean"
) -> Tensor:
    """Return :func:`global_structure` of n rows by their :func:`grams`.

    Raises:
        ValueError: an unknown ``scale``.
    """
    factor = _factor(n, scale)
    of_c, of_l, mixed = products
    with no_autocast(of_c):
        value = _squared_norm(of_c) + _squared_norm(of_l) - 2.0 * _squared_norm(mixed)
        return (value * factor).clamp_min(0.0).to(of_c.dtype)


def _factor(n: int, scale: str) -> float:
    if scale not in _SCALES:
        raise ValueError(f"scale must be one of {', '.join(_SCALES)}, got {scale!r}")
    return 1.0 / max(n, 1) ** 2 if scale == "mean" else 1.0


def _squared_norm(gram: Tensor) -> Tensor:
    return gram.to(torch.float64).square().sum()

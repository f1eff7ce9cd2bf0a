"""PAD's equations (2), (3), (5): the maximum mean discrepancy of two sets of rows.

The form that the authors use keeps the differences of all pairs of rows, ``(2n)² d`` numbers a
kernel.  Here one matrix of ``(2n)²`` distances serves all kernels, each of which is the square of
the one before it, and a repeated row is one row with a count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_darec.numerics.rows import unit_rows

__all__ = ["KERNELS", "mean_discrepancy"]

# Five bandwidths, 2^u m with u = -3..1: the widest kernel, squared four times in turn.
_WIDEST, _SQUARINGS = 1, 4


def mean_discrepancy(
    first: Tensor, second: Tensor, counts: Tensor | None = None, kernel: str = "gaussian"
) -> Tensor:
    """Squared discrepancy of two sets of n rows, with the paper's 2/(n - 1) added.

    Sum of k(x_i, x_j) over i ≠ j through n(n - 1), the same of y, less twice the sum of
    k(x_i, y_j) through n².

    Args:
        first: X, shape (u, d).
        second: Y, shape (u, d).
        counts: how often each row stands in its set, shape (u,); None: once.  n is their sum.
        kernel: a name of :data:`KERNELS`.

    Returns:
        a scalar; 0 without a gradient where n is below 2.
    """
    if counts is None:
        counts = first.new_ones(len(first))
    counts = counts.to(first.dtype)
    n = float(counts.sum())
    if n < 2:
        return first.new_zeros(())
    rows = torch.cat([first, second])
    twice = torch.cat([counts, counts])
    return KERNELS[kernel](rows, twice, n) + 2.0 / (n - 1.0)


def _weights(counts: Tensor, n: float) -> Tensor:
    """Return the weight of each pair of the 2u rows in the discrepancy, ``[2u, 2u]``."""
    pairs = torch.outer(counts, counts)
    half = len(counts) // 2
    for side in (slice(0, half), slice(half, None)):
        pairs[side, side].diagonal().sub_(counts[side])
        pairs[side, side].div_(n * (n - 1.0))
    pairs[:half, half:].div_(-n * n)
    pairs[half:, :half].div_(-n * n)
    return pairs


class _Gaussians(torch.autograd.Function):
    """Weighted sum of five Gaussians over all pairs; keeps one matrix for its gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Tensor, n: float) -> Tensor:
        # Distances are differences of products: what all rows have in common would drown them.
        rows = rows - (counts @ rows) / (2.0 * n)
        squares = rows.square().sum(1)
        # The mean squared distance of all pairs, without one of them being formed.
        scale = float(counts @ squares) / n
        if not scale > 0.0:  # all rows are one
            ctx.save_for_backward(rows, None)
            return (_weights(counts, n).sum() * (_SQUARINGS + 1)).to(rows.dtype)
        rate = -0.5 / (2.0**_WIDEST * scale)
        power = torch.addmm(squares[:, None] + squares, rows, rows.t(), alpha=-2.0)
        power.clamp_(min=0.0).fill_diagonal_(0.0)
        power.mul_(rate).exp_()
        total, slope = power.clone(), power.clone()
        for step in range(1, _SQUARINGS + 1):
            power.square_()
            total.add_(power)
            slope.add_(power, alpha=2.0**step)
        weights = _weights(counts, n)
        value = torch.dot(total.flatten(), weights.flatten())
        ctx.save_for_backward(rows, slope.mul_(weights).mul_(rate))
        return value

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, slope = ctx.saved_tensors
        if slope is None:
            return torch.zeros_like(rows), None, None
        own = slope.sum(1, keepdim=True) * rows
        return 4.0 * gradient * (own - slope @ rows), None, None


def _gaussian(rows: Tensor, counts: Tensor, n: float) -> Tensor:
    value: Tensor = _Gaussians.apply(rows, counts, n)  # type: ignore[no-untyped-call]
    return value


def _laplace(rows: Tensor, counts: Tensor, n: float) -> Tensor:
    distances = torch.cdist(rows, rows, p=1.0)
    # The bandwidth is the mean distance, as that of the Gaussians is the mean squared one.
    mean = (torch.outer(counts, counts) * distances.detach()).sum() / (4.0 * n * n)
    kernel = torch.exp(-distances / mean.clamp(min=torch.finfo(rows.dtype).tiny))
    return (kernel * _weights(counts, n)).sum()


def _linear(rows: Tensor, counts: Tensor, n: float) -> Tensor:
    return ((rows @ rows.t()) * _weights(counts, n)).sum()


def _cosine(rows: Tensor, counts: Tensor, n: float) -> Tensor:
    return _linear(unit_rows(rows), counts, n)


KERNELS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "gaussian": _gaussian,
    "laplace": _laplace,
    "linear": _linear,
    "cosine": _cosine,
}

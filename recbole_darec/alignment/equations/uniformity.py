"""Equation (3): specific rows should spread over the unit sphere.

Formed whole, the N × N potentials exist several times over and the time goes to memory traffic.
Here they live one square tile at a time, in one buffer that fits a cache, and each tile serves
twice: by symmetry it stands for its mirror image too, and its exponentials give the sum and the
gradient of the sum before they are overwritten.  So the backward pass is one scaling of an
(N, d) matrix, and nothing of size N² is ever kept or computed a second time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_darec.numerics.rows import no_autocast, unit_rows

__all__ = ["uniformity"]

# A float32 tile of 512 × 512 is 1 MiB, one core's second-level cache; an accelerator wants few,
# large launches instead, and 4096 × 4096 is 64 MiB.
_CPU_BLOCK = 512
_ACCELERATOR_BLOCK = 4096

# exp(x) as exp2(x log2 e): PyTorch's exp2 takes a third of the time of its exp on a CPU.
_LOG2_E = 1.4426950408889634

# Up to here exp(2t) and exp(-4t), the extremes below, stay within float32.
_LARGEST_T = 20.0


def uniformity(specific: Tensor, *, block_rows: int | None = None, t: float = 2.0) -> Tensor:
    """Log of the mean over pairs x ≠ y of exp(-t ‖x - y‖²) on unit rows, one side of equation (3).

    The loss of the paper is the sum of this over the CF side and the LLM side.  Pairs are pairs of
    different rows, equal rows included.  A zero row stays at the origin, 1 away from every other
    row in squared distance and 0 from other zero rows, and gets no gradient.  First derivatives
    only.  Time O(N² d), memory O(N d + block_rows²), no host–device round trip.

    Args:
        specific: E_sp, shape (N, d), of any scale: rows are L2-normalised here.
        block_rows: side of a tile; by default 512 on a CPU and 4096 elsewhere.
        t: sharpness of the Gaussian potential, in (0, 20]; the paper's is 2.

    Returns:
        a scalar in [-4t, 0], in float32 for half-precision input; 0 with zero gradient when there
        are fewer than two rows.

    Raises:
        ValueError: ``block_rows`` < 1, ``t`` outside (0, 20], or ``specific`` not a matrix.
    """
    if specific.dim() != 2:
        raise ValueError(f"uniformity needs a matrix of rows, got shape {tuple(specific.shape)}")
    if not 0.0 < t <= _LARGEST_T:
        raise ValueError(f"t must be in (0, {_LARGEST_T:g}], got {t}")
    if block_rows is None:
        block_rows = _CPU_BLOCK if specific.device.type == "cpu" else _ACCELERATOR_BLOCK
    if block_rows < 1:
        raise ValueError(f"block_rows must be at least 1, got {block_rows}")
    unit = unit_rows(specific)
    n = unit.shape[0]
    if n < 2:
        return unit.sum() * 0.0
    with no_autocast(unit):
        if torch.is_grad_enabled() and unit.requires_grad:
            total: Tensor = _PairSum.apply(unit, t, block_rows)  # type: ignore[no-untyped-call]
        else:
            total, _ = _pair_sum(unit, t, block_rows, with_gradient=False)
        return (total / (n * (n - 1))).log().to(unit.dtype)


class _PairSum(torch.autograd.Function):
    """Sum of the potentials over ordered pairs, with its gradient found on the way forward."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, t: float, block_rows: int) -> Tensor:
        total, gradient = _pair_sum(unit, t, block_rows, with_gradient=True)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_total.to(gradient.dtype), None, None


def _pair_sum(
    unit: Tensor, t: float, block_rows: int, *, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Return Σ_{i≠j} exp(-t ‖x_i - x_j‖²) as a float64 scalar, and its gradient, shape (N, d).

    With a_i = exp(-t ‖x_i‖²) a potential is a_i a_j exp(2t x_i·x_j), so a tile needs one matrix
    product, one exp in place, and no distances.  The gradient to x_i is
    4t a_i Σ_j exp(2t x_i·x_j) a_j x_j, less a multiple of x_i that is left out: rows here have
    length 1 or are zero, and the normalisation before lets through neither a radial part nor
    anything to a zero row.
    """
    n = unit.shape[0]
    block_rows = min(block_rows, n)
    scale = (-t * unit.square().sum(-1)).exp()
    scaled = unit * scale.unsqueeze(-1)
    left = unit * (2.0 * t * _LOG2_E)
    buffer = unit.new_empty(block_rows * block_rows)
    row_sums = torch.zeros_like(scale)
    gradient = torch.zeros_like(unit) if with_gradient else unit.new_empty(0)
    for start in range(0, n, block_rows):
        rows = slice(start, min(start + block_rows, n))
        height = rows.stop - rows.start
        for other in range(start, n, block_rows):
            columns = slice(other, min(other + block_rows, n))
            width = columns.stop - columns.start
            tile = buffer[: height * width].view(height, width)
            torch.mm(left[rows], unit[columns].t(), out=tile)
            tile.exp2_()
            on_diagonal = other == start
            if on_diagonal:
                tile.fill_diagonal_(0.0)  # a row is no pair with itself
            row_sums[rows].addmv_(tile, scale[columns], alpha=1.0 if on_diagonal else 2.0)
            if with_gradient:
                gradient[rows].addmm_(tile, scaled[columns])
                if not on_diagonal:
                    gradient[columns].addmm_(tile.t(), scaled[rows])
    if with_gradient:
        gradient.mul_(scale.unsqueeze(-1)).mul_(4.0 * t)
    return row_sums.mul_(scale).sum(dtype=torch.float64), gradient

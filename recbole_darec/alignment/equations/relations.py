"""Relations of one table's rows matched to those of another, row by row; no equation of the paper.

A row's relations are a softmax over its cosines with the other rows.  The frozen table's are the
target, so that there is no trained projection that could make all rows alike on both sides.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_darec.numerics.rows import at_least_float32, no_autocast, unit_rows

__all__ = ["relation_matching"]

# Elements of one of the two buffers: 1 MiB of float32 each stay in a core's cache;
# an accelerator wants few, large launches.
_CPU_ELEMENTS = 1 << 18
_ACCELERATOR_ELEMENTS = 1 << 26

# exp(x) as exp2(x log2 e): PyTorch's exp2 takes a third of the time of its exp on a CPU.
_LOG2_E = 1.4426950408889634

# A cosine over a temperature stays within this; exp of it, times many rows, within float32.
_LARGEST = 60.0


def relation_matching(
    rows: Tensor,
    targets: Tensor,
    *,
    temperature: float,
    target_temperature: float,
    max_elements: int | None = None,
) -> Tensor:
    """Mean cross-entropy between the relations of ``targets`` and those of ``rows``.

    The relations of row i are the softmax over j ≠ i of cos(i, j) / τ, with a temperature of its
    own on each side.  First derivatives only, and none to ``targets``.  Time O(N² d), memory
    O(N d + max_elements).

    Args:
        rows: shape (N, d), of any scale: rows are L2-normalised here.
        targets: shape (N, w), row by row their partners; L2-normalised here as well.
        temperature: τ of ``rows``, at least 1/60.
        target_temperature: τ of ``targets``, at least 1/60.
        max_elements: size of each of two buffers in elements; a row of it is always there.

    Returns:
        a scalar, at least the mean entropy of the target's relations; float32 for half-precision
        input; 0 with zero gradient when there are fewer than two rows.

    Raises:
        ValueError: a temperature below 1/60, or tables of different lengths.
    """
    if rows.dim() != 2 or targets.dim() != 2 or len(rows) != len(targets):
        raise ValueError(
            f"each row needs its target: shapes {tuple(rows.shape)} and {tuple(targets.shape)}"
        )
    for value in (temperature, target_temperature):
        if not value * _LARGEST >= 1.0:
            raise ValueError(f"a temperature must be at least 1/{_LARGEST:g}, got {value}")
    unit = unit_rows(rows)
    n = len(unit)
    if n < 2:
        return unit.sum() * 0.0
    if max_elements is None:
        max_elements = _CPU_ELEMENTS if rows.device.type == "cpu" else _ACCELERATOR_ELEMENTS
    with no_autocast(unit):
        total: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
            unit,
            unit_rows(at_least_float32(targets.detach()).to(unit.dtype)),
            1.0 / temperature,
            1.0 / target_temperature,
            max_elements,
        )
    return total / n


class _CrossEntropy(torch.autograd.Function):
    """Sum over the rows of the cross-entropy, with its gradient found on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        unit: Tensor,
        targets: Tensor,
        sharpness: float,
        target_sharpness: float,
        max_elements: int,
    ) -> Tensor:
        n = len(unit)
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(unit) if wanted else None
        left = unit * (sharpness * _LOG2_E)
        left_targets = targets * (target_sharpness * _LOG2_E)
        height = max(1, min(n, max_elements // n))
        buffers = [unit.new_empty(height * n) for _ in range(2)]
        total = unit.new_zeros((), dtype=torch.float64)
        for start in range(0, n, height):
            block = slice(start, min(start + height, n))
            ours, theirs = (b[: (block.stop - start) * n].view(-1, n) for b in buffers)
            torch.mm(left_targets[block], targets.t(), out=theirs)
            theirs.exp2_()
            _own(theirs, start).zero_()  # a row is not among its own relations
            theirs /= theirs.sum(1, keepdim=True)
            torch.mm(left[block], unit.t(), out=ours)
            near = torch.dot(theirs.view(-1), ours.view(-1)) / _LOG2_E
            ours.exp2_()
            _own(ours, start).zero_()
            sums = ours.sum(1, keepdim=True)
            total += sums.log().sum() - near
            if gradient is not None:
                ours /= sums
                ours -= theirs
                gradient[block].addmm_(ours, unit, alpha=sharpness)
                gradient.addmm_(ours.t(), unit[block], alpha=sharpness)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total.to(unit.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_total.to(gradient.dtype), None, None, None, None


def _own(block: Tensor, start: int) -> Tensor:
    """Return the view of a block of rows on the products of rows with themselves."""
    return block[:, start:].diagonal()

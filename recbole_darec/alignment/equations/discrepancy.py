"""PAD's equations (2), (3), (5): the maximum mean discrepancy of two sets of rows.

The form that the authors use keeps the differences of all pairs of rows, ``(2n)² d`` numbers a
kernel.  Here one matrix of distances, made a tile at a time, serves all kernels, each of which is
the square of the one before it, and a repeated row is one row with a count.
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

# Pairs at a time: what a core keeps at hand; on an accelerator, few calls.
_TILE_NUMBERS, _TILE_NUMBERS_ON_DEVICE = 1 << 18, 1 << 24


def mean_discrepancy(
    first: Tensor,
    second: Tensor,
    counts: Tensor | None = None,
    kernel: str = "gaussian",
    at_once: int = 0,
) -> Tensor:
    """Squared discrepancy of two sets of n rows, with the paper's 2/(n - 1) added.

    Sum of k(x_i, x_j) over i ≠ j through n(n - 1), the same of y, less twice the sum of
    k(x_i, y_j) through n².

    Args:
        first: X, shape (u, d).
        second: Y, shape (u, d).
        counts: how often each row stands in its set, shape (u,); None: once.  n is their sum.
        kernel: a name of :data:`KERNELS`.
        at_once: more rows than these are dealt out to as few groups as hold no more each, and the
            mean of the groups' discrepancies is taken; 0: never.

    Returns:
        a scalar; 0 without a gradient where n is below 2.
    """
    if counts is None:
        counts = first.new_ones(len(first))
    n_groups = -(-len(first) // at_once) if at_once else 1
    if n_groups > 1:
        groups = [
            mean_discrepancy(first[k::n_groups], second[k::n_groups], counts[k::n_groups], kernel)
            for k in range(n_groups)
        ]
        return torch.stack(groups).mean()
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
    """Weighted sum of five Gaussians over all pairs, with its gradient, a tile of pairs at a time.

    A tile is some of the rows against those from its first on, so that each pair is in one tile;
    what is kept is the gradient alone.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Tensor, n: float) -> Tensor:
        # Distances are differences of products: what all rows have in common would drown them.
        rows = rows - (counts @ rows) / (2.0 * n)
        squares = rows.square().sum(1)
        half = len(rows) // 2
        own, cross = counts / (n * (n - 1.0)), -counts / (n * n)
        # The pairs of a row with itself, whose kernels are 1, are in the sums and taken out here.
        value = -(_SQUARINGS + 1) * own.sum()
        # The mean squared distance of all pairs, without one of them being formed.
        scale = float(counts @ squares) / n
        rate = -0.5 / (2.0**_WIDEST * scale) if scale > 0.0 else 0.0  # 0: all rows are one
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(rows) if wanted else None
        with_ones = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        numbers = _TILE_NUMBERS if rows.device.type == "cpu" else _TILE_NUMBERS_ON_DEVICE
        tile_rows = max(1, numbers // len(rows))
        for first in (0, half):
            # What a row weighs in pairs with a row of this half.
            weights = own if first else torch.cat([own[:half], cross[half:]])
            for start in range(first, first + half, tile_rows):
                end = min(start + tile_rows, first + half)
                twice = weights[start:].clone()
                twice[end - start :] *= 2.0  # the same pairs the other way round
                sums, slope = _tile(rows, squares, slice(start, end), twice, rate)
                value = value + counts[start:end] @ sums
                if gradient is None:
                    continue
                pulled = slope @ (with_ones[start:] * weights[start:, None])
                gradient[start:end] += _moved(rows[start:end], pulled) * counts[start:end, None]
                pulled = slope[:, end - start :].t() @ (
                    with_ones[start:end] * counts[start:end, None]
                )
                gradient[end:] += _moved(rows[end:], pulled) * weights[end:, None]
        ctx.save_for_backward(None if gradient is None else gradient.mul_(4.0 * rate))
        return value

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (found,) = ctx.saved_tensors
        return gradient * found, None, None


def _moved(rows: Tensor, pulled: Tensor) -> Tensor:
    """Return the weighted differences of some rows to others, of these rows' sum and its weight."""
    return pulled[:, -1:] * rows - pulled[:, :-1]


def _tile(
    rows: Tensor, squares: Tensor, here: slice, weights: Tensor, rate: float
) -> tuple[Tensor, Tensor]:
    """Return kernels of some rows with those from the first of them on.

    Returns:
        their weighted sums over the latter, ``[h]``, and their slopes over distance, ``[h, m]``.
    """
    power = (squares[here, None] + squares[here.start :]).mul_(rate)
    power.addmm_(rows[here], rows[here.start :].t(), alpha=-2.0 * rate)
    power.clamp_(max=0.0).exp_()
    power.diagonal().fill_(1.0)
    sums, slope = power @ weights, power.clone()
    for step in range(1, _SQUARINGS + 1):
        power.square_()
        sums.addmv_(power, weights)
        slope.add_(power, alpha=2.0**step)
    return sums, slope


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

"""What several equations do to rows: precision, and the scaling to unit length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = [
    "BLOCK_ROWS",
    "at_least_float32",
    "distinct_with_weights",
    "mean_of_units",
    "no_autocast",
    "unique_with_counts",
    "unit_rows",
]

BLOCK_ROWS = 1 << 16
"""Rows of a large table that are made anew at a time: what stands beside it stays small."""


def at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32 if they are narrower than that, else as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def no_autocast(values: Tensor) -> torch.autocast:
    """Return a context in which matrix products on the device of ``values`` keep their dtype."""
    return torch.autocast(device_type=values.device.type, enabled=False)


def unit_rows(rows: Tensor, eps: float | None = None) -> Tensor:
    """Scale each row to Euclidean length 1; this is G(·) of equation (3).

    A row no longer than ``eps`` counts as zero: it becomes a zero row and passes no gradient
    back, where a division by a clamped length would pass one of size 1/eps.  First derivatives
    only.

    Args:
        rows: shape (..., d).
        eps: the length up to which a row counts as zero; by default the machine epsilon of the
            dtype that is computed in (1.2e-7 for float32).

    Returns:
        shape (..., d), float32 for half-precision input, else of the input's dtype.  NaN stays NaN.
    """
    rows = at_least_float32(rows)
    if eps is None:
        eps = torch.finfo(rows.dtype).eps
    if torch.is_grad_enabled() and rows.requires_grad:
        units: Tensor = _UnitRows.apply(rows, eps)  # type: ignore[no-untyped-call]
        return units
    return rows * inverse_lengths(rows, eps)


def inverse_lengths(rows: Tensor, eps: float) -> Tensor:
    """Return 1/‖x‖ of each row ``[..., 1]``, 0 of one no longer than ``eps``, without gradient."""
    lengths = torch.linalg.vector_norm(rows.detach(), dim=-1, keepdim=True)
    zero = lengths <= eps  # false for NaN, so that a diverged run is not hidden
    return lengths.reciprocal_().masked_fill_(zero, 0.0)


class _UnitRows(torch.autograd.Function):
    """:func:`unit_rows` with its gradient, (g - (g · u) u) / ‖x‖, in half the passes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, eps: float) -> Tensor:
        inverse = inverse_lengths(rows, eps)
        units = rows * inverse
        ctx.save_for_backward(units, inverse)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        units, inverse = ctx.saved_tensors
        along = (grad * units).sum(-1, keepdim=True)
        return torch.addcmul(grad, units, along, value=-1.0).mul_(inverse), None


def mean_of_units(rows: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Return the mean of unit rows, a block of :data:`BLOCK_ROWS` at a time.

    Args:
        rows: shape (N, d); a zero row counts as a row.
        chosen: the numbers of those that are meant, int64, at least one; None means all.

    Returns:
        shape (d,), of the dtype that :func:`unit_rows` returns.
    """
    n_rows = len(rows) if chosen is None else len(chosen)
    mean = at_least_float32(rows.new_zeros(rows.shape[1]))
    for block in torch.split(rows if chosen is None else chosen, BLOCK_ROWS):
        units = unit_rows(block if chosen is None else rows[block])
        mean += units.mean(0) * (len(block) / n_rows)
    return mean


def unique_with_counts(ids: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return distinct ids and how often each stands in ``ids``, where that saves time.

    An accelerator would have to wait for the number of distinct ids: there ``ids`` come back as
    they are, without counts, which means once each.
    """
    if ids.device.type != "cpu":
        return ids, None
    distinct, counts = torch.unique(ids, return_counts=True)
    return distinct, counts


def distinct_with_weights(ids: Tensor, n: int) -> tuple[Tensor, Tensor | None, Tensor | int]:
    """Return ids that count once each together, their weights, and the number of distinct ones.

    On a CPU these are the distinct ids, without weights.  An accelerator would have to wait for
    their number: there ``ids`` come back as they are, each of m like ones with weight 1/m.

    Args:
        ids: int64 ``[b]``, from 0 to ``n - 1``.
        n: number of ids that there are.
    """
    if ids.device.type == "cpu":
        distinct = torch.unique(ids)
        return distinct, None, len(distinct)
    return ids, *shares_of_like_ids(ids, n)


def shares_of_like_ids(ids: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return 1/m for each of m like ids ``[b]``, and the sum, the number of distinct ones."""
    times = torch.zeros(n, dtype=torch.int64, device=ids.device)
    weights = times.index_add_(0, ids, torch.ones_like(ids))[ids].float().reciprocal()
    return weights, weights.sum()

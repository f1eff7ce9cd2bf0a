"""A table whose columns are computed by several processes, a share by each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from recbole_darec.numerics import at_least_float32
from recbole_darec.numerics.shares import Share

__all__ = ["columns_of_all"]


class _Columns(torch.autograd.Function):
    """The columns of all processes side by side; the gradient of a process's is the sum over all.

    It is the sum and no mean, since the gradients of what the columns are made of, which are zero
    on the other processes, are averaged afterwards.
    """

    @staticmethod
    def forward(ctx: Any, columns: Tensor, width: int) -> Tensor:
        rank, size = dist.get_rank(), dist.get_world_size()
        ctx.own = Share(rank, size).of(width)
        widths = [len(range(width)[Share(other, size).of(width)]) for other in range(size)]
        ctx.dtype = columns.dtype
        columns = at_least_float32(columns)  # Gloo speaks no half precision
        sent = columns.new_zeros(len(columns), max(widths))
        sent[:, : columns.shape[1]] = columns
        found = [torch.empty_like(sent) for _ in widths]
        dist.all_gather(found, sent)
        whole = torch.cat([part[:, :count] for part, count in zip(found, widths)], 1)
        return whole.to(ctx.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = at_least_float32(grads[0]).clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[:, ctx.own].to(ctx.dtype), None


def columns_of_all(columns: Tensor, width: int) -> Tensor:
    """Return the columns of all processes side by side, ``[n, width]``, with their gradient.

    Args:
        columns: those of this process's share, ``[n, d_r]``.
        width: of all of them.
    """
    found: Tensor = _Columns.apply(columns, width)  # type: ignore[no-untyped-call]
    return found

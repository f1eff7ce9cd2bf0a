"""DaRec's projections of very many rows, a block at a time, in float32.

What lies between the layers is computed again in the backward pass, and the specific rows, of which
only the orthogonality term sees all, are not kept: of a million rows 64 wide a step then takes less
than half of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recbole_darec.alignment.equations import orthogonality, unit_rows
from recbole_darec.alignment.equations.global_structure import grams
from recbole_darec.numerics import no_autocast

__all__ = ["InBlocks", "project_in_blocks"]


class InBlocks(NamedTuple):
    """What the terms need of all rows.

    Attributes:
        shared_c, shared_l: the shared rows, ``[N, d]``.
        orthogonality: equation (2), a scalar.
        grams: of the shared rows as the global term sees them, for ``global_structure_of``.
    """

    shared_c: Tensor
    shared_l: Tensor
    orthogonality: Tensor
    grams: tuple[Tensor, Tensor, Tensor]


def project_in_blocks(
    encoders: nn.ModuleDict, rows_c: Tensor, rows_l: Tensor, *, normalized: bool, size: int
) -> InBlocks:
    """Project all rows of both sides; first derivatives only, and none to the profiles.

    Args:
        encoders: ``collaborative`` and ``profile``, each to the shared and the specific rows.
        rows_c: E^C, shape (N, d).
        rows_l: E^L of the same rows, shape (N, width), of any float type.
        normalized: whether the global term sees unit rows.
        size: rows of a block.
    """
    weights = [p for side in ("collaborative", "profile") for p in encoders[side].parameters()]
    shared_c, shared_l, total, *products = _Projected.apply(  # type: ignore[no-untyped-call]
        encoders, normalized, size, rows_c, rows_l.detach(), *weights
    )
    return InBlocks(shared_c, shared_l, total, tuple(products))


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        encoders: nn.ModuleDict,
        normalized: bool,
        size: int,
        rows_c: Tensor,
        rows_l: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.encoders, ctx.normalized, ctx.size, ctx.weights = encoders, normalized, size, weights
        ctx.save_for_backward(rows_c, rows_l)
        ctx.set_materialize_grads(False)
        shared: list[Tensor] = []
        sums: list[Tensor] = []
        for block in _blocks(len(rows_c), size):
            of_c, of_l, *parts = _of_block(ctx, rows_c[block], rows_l[block], len(rows_c))
            if not shared:
                shared = [part.new_empty(len(rows_c), part.shape[1]) for part in (of_c, of_l)]
                sums = [torch.zeros_like(part) for part in parts]
            shared[0][block], shared[1][block] = of_c, of_l
            for total, part in zip(sums, parts):
                total += part
        return (*shared, *sums)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        rows_c, rows_l = ctx.saved_tensors
        to_rows = torch.empty_like(rows_c)
        to_weights = [torch.zeros_like(weight) for weight in ctx.weights]
        for block in _blocks(len(rows_c), ctx.size):
            with torch.enable_grad():
                asked = rows_c[block].detach().requires_grad_()
                outputs = _of_block(ctx, asked, rows_l[block], len(rows_c))
            given = [g if g is None or n > 1 else g[block] for n, g in enumerate(grads)]
            pairs = [(o, g) for o, g in zip(outputs, given) if g is not None]
            found = torch.autograd.grad(
                [o for o, _ in pairs],
                [asked, *ctx.weights],
                [g for _, g in pairs],
                allow_unused=True,
                materialize_grads=True,
            )
            to_rows[block] = found[0]
            for total, part in zip(to_weights, found[1:]):
                total += part
        return (None, None, None, to_rows, None, *to_weights)


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _of_block(ctx: Any, rows_c: Tensor, rows_l: Tensor, n: int) -> tuple[Tensor, ...]:
    with no_autocast(rows_c):
        shared_c, specific_c = ctx.encoders["collaborative"](rows_c)
        shared_l, specific_l = ctx.encoders["profile"](rows_l.to(rows_c.dtype))
        sides = orthogonality(specific_l, shared_l) + orthogonality(specific_c, shared_c)
        pair = (shared_c, shared_l)
        if ctx.normalized:
            pair = (unit_rows(shared_c), unit_rows(shared_l))
        return (shared_c, shared_l, sides * (len(rows_c) / n), *grams(*pair))

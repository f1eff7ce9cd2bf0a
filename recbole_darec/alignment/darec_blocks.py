"""DaRec's projections of very many rows, a block at a time.

What lies between the layers is computed again in the backward pass, and the specific rows, of which
only the orthogonality term sees all, are not kept: of a million rows 64 wide a step then takes a
third of the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["BLOCK", "InBlocks", "project_in_blocks"]

BLOCK = 65_536
"""Rows of a block; no more are projected at once."""


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
    encoders: nn.ModuleDict, rows_c: Tensor, rows_l: Tensor, *, normalized: bool
) -> InBlocks:
    """Project all rows of both sides.

    Args:
        encoders: ``collaborative`` and ``profile``, each to the shared and the specific rows.
        rows_c: E^C, shape (N, d).
        rows_l: E^L of the same rows, shape (N, width), of any float type.
        normalized: whether the global term sees unit rows.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    from recbole_darec.alignment import equations as eq

    def of_block(block_c: Tensor, block_l: Tensor) -> tuple[Tensor, ...]:
        shared_c, specific_c = encoders["collaborative"](block_c)
        shared_l, specific_l = encoders["profile"](block_l.to(block_c.dtype))
        sides = eq.orthogonality(specific_l, shared_l) + eq.orthogonality(specific_c, shared_c)
        pair = (shared_c, shared_l)
        if normalized:
            pair = (eq.unit_rows(shared_c), eq.unit_rows(shared_l))
        return (shared_c, shared_l, sides * (len(block_c) / len(rows_c)), *eq.grams(*pair))

    blocks = [
        checkpoint(of_block, *pair, use_reentrant=False, preserve_rng_state=False)
        for pair in zip(torch.split(rows_c, BLOCK), torch.split(rows_l, BLOCK))
    ]
    shared_c, shared_l, *sums = zip(*blocks)
    total, *grams = (torch.stack(parts).sum(0) for parts in sums)
    return InBlocks(torch.cat(shared_c), torch.cat(shared_l), total, tuple(grams))

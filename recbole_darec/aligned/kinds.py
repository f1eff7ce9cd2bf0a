"""Rows of several kinds, such as users and items, in one table: what an aligner sees.

A backbone has a table for each kind, whose row 0 is padding that nobody ranks.  The one table has
the kinds one below the other, without padding.  Which kinds there are is the recommender's to say.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["slices_of", "stacked", "with_padding"]


def slices_of(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return where each kind's rows stand in the one table.

    Args:
        sizes: rows of each kind's own table, the padding counted.
    """
    slices, start = {}, 0
    for kind, size in sizes.items():
        slices[kind] = slice(start, start + size - 1)
        start += size - 1
    return slices


def stacked(tables: Mapping[str, Tensor]) -> Tensor:
    """Return the one table ``[N, d]`` of each kind's own, ``[size, d]`` with padding."""
    return torch.cat([table[1:] for table in tables.values()])


def with_padding(
    rows: Tensor, kinds: Mapping[str, slice], like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return each kind's own table of the one, under its padding row again.

    Args:
        rows: the one table, ``[N, d']``.
        kinds: where each kind's rows stand in it.
        like: the tables whose padding rows are taken; zeros where they are of another width.
    """
    width = rows.shape[1]
    tables = {}
    for kind, table in like.items():
        padding = table[:1] if table.shape[1] == width else table.new_zeros(1, width)
        tables[kind] = torch.cat([padding, rows[kinds[kind]]])
    return tables

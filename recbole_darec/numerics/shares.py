"""Which rows of a step are this process's, where several train one model.

The loss of a step is the mean over the processes of what each of them computes.  So a term that
every process computes of the same rows is right as it is, and a sum over rows may be split: each
process sums its own rows, times the number of processes.  What makes a row or a column of one may
be split, too, and is put together again (:func:`by_rows`, :func:`by_columns`).  Where one process
trains alone, its share is everything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "OwnRows",
    "Share",
    "by_columns",
    "by_rows",
    "current_share",
    "own_rows",
    "sharing",
    "whole_dropout",
]


@dataclass(frozen=True)
class Share:
    """The share that one of several processes has of each step's rows.

    Attributes:
        rank: number of the process, from 0.
        size: how many there are.
        gather: makes of this share's columns ``[n, d_r]``, and of d, those of all shares
            ``[n, d]``, with their gradient; None where the others are not asked.
    """

    rank: int = 0
    size: int = 1
    gather: Callable[[Tensor, int], Tensor] | None = None

    def of(self, n: int) -> slice:
        """Return the places of this share among ``n``: as many as another's, or one more."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)


class OwnRows(NamedTuple):
    """Rows of this share, and what makes of their sum or mean a part of that of all rows.

    Attributes:
        rows: their places; a share without any has the first row, at factors of 0.
        of_sum: what a sum over them is multiplied with.
        of_mean: what a mean over them is multiplied with.
    """

    rows: slice
    of_sum: float
    of_mean: float


_WHOLE = Share()
_current = _WHOLE


def current_share() -> Share:
    """Return this process's share of the step that is being computed."""
    return _current


@contextlib.contextmanager
def sharing(share: Share = _WHOLE) -> Iterator[None]:
    """Have what is computed here be a process's part of a step; by default all of it."""
    global _current
    before, _current = _current, share
    try:
        yield
    finally:
        _current = before


def own_rows(n: int) -> OwnRows:
    """Return which of ``n`` rows this process sums."""
    share = _current
    own = share.of(n)
    if share.size > 1 and n and own.start == own.stop:
        return OwnRows(slice(0, 1), 0.0, 0.0)
    part = (own.stop - own.start) / n if n else 1.0
    return OwnRows(own, float(share.size), share.size * part)


def by_columns(function: Callable[[Tensor], Tensor], table: Tensor) -> Tensor:
    """Return ``function(table)``, of which each process computes its share of the columns.

    Args:
        function: makes of each column one of its own, such as a product from the left.
        table: ``[n, d]``, the same on all processes.
    """
    share, width = _current, table.shape[1]
    if share.gather is None or width < share.size:
        return function(table)
    return share.gather(function(table[:, share.of(width)].contiguous()), width)


def by_rows(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return ``function(rows)``, of which each process computes its share of the rows.

    Args:
        function: makes of each row one of its own, such as an MLP.
        rows: ``[n, width]``, the same on all processes.
    """
    share, n = _current, len(rows)
    if share.gather is None or n < share.size:
        return function(rows)
    return share.gather(function(rows[share.of(n)]).t(), n).t()


@contextlib.contextmanager
def whole_dropout(rows: slice, n: int) -> Iterator[None]:
    """Have dropout draw for all ``n`` rows of a batch, of which ``rows`` alone are computed.

    Tensors whose first dimension is the rows get the part that they would have in the whole batch,
    and the generator is left where the whole batch leaves it.  Others are drawn for as they are.

    Args:
        rows: the rows that are computed.
        n: rows of the batch.
    """
    functions: Any = torch.nn.functional
    drop = functions.dropout
    count = rows.stop - rows.start

    def of_whole(
        input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0.0 or not input.dim() or len(input) != count or count == n:
            dropped: Tensor = drop(input, p, training, inplace)
            return dropped
        mask: Tensor = drop(input.new_ones(n, *input.shape[1:]), p, True, False)
        return input * mask[rows]

    functions.dropout = of_whole
    try:
        yield
    finally:
        functions.dropout = drop

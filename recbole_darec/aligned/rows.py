"""A batch by rows: those of this process, where several train one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole.data.interaction import Interaction

from recbole_darec.data.sequences import PLACES
from recbole_darec.numerics.shares import current_share, own_rows, sharing, whole_dropout

__all__ = ["loss_of_own_rows", "rows_of"]


def rows_of(batch: Any, rows: slice, *, sequences: str | None = None) -> Any:
    """Return some rows of a batch.

    Args:
        batch: RecBole's interaction.
        rows: which.
        sequences: name of the field of a sequential batch that has a row a sequence; the fields of
            targets may have one for each of its places.
    """
    fields = batch.interaction
    if PLACES not in fields:
        return batch[rows]
    assert sequences is not None
    n, width = fields[sequences].shape
    places = fields[PLACES]
    first, last = rows.start * width, rows.stop * width
    targets = ((places >= first) & (places < last)).nonzero().flatten()
    found = {
        name: values[rows] if len(values) == n and len(places) != n else values[targets]
        for name, values in fields.items()
    }
    found[PLACES] = found[PLACES] - first
    return Interaction(found)


def loss_of_own_rows(
    loss_of: Callable[[Any], Any], batch: Any, *, sequences: str | None = None
) -> Any:
    """Return what this process adds to a loss that is a mean over a batch's rows.

    The mean of the results over the processes is the loss of the batch.  Dropout is drawn for the
    whole batch, so that it is that of one process.

    Args:
        loss_of: a batch to its loss, a scalar or a tuple of them.
        batch: all rows.
        sequences: as :func:`rows_of` takes it.
    """
    if current_share().size == 1:
        return loss_of(batch)
    n = len(batch.interaction[sequences]) if sequences else len(batch)
    own = own_rows(n)
    part = rows_of(batch, own.rows, sequences=sequences)
    factor = own.of_mean
    if factor and PLACES in batch.interaction:
        count = len(part.interaction[PLACES]) / len(batch.interaction[PLACES])
        factor = own.of_sum * count
    with sharing(), whole_dropout(own.rows, n):  # these rows are not shared once more
        found = loss_of(part)
    if isinstance(found, tuple):
        return tuple(factor * one for one in found)
    return factor * found

"""Rows that stay in their file: a step reads those of its own ids, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recbole_darec.embeddings.lookup import (
    Coverage,
    block_rows,
    cover,
    fill,
    require_finite,
    rows_dtype,
)
from recbole_darec.embeddings.table import EmbeddingTable

__all__ = ["MappedRows", "lookup_or_map", "mapped_rows"]

_MAPPED_ROWS = 64


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Rows of a mapped file by internal id, which stay in the file until they are asked for.

    Attributes:
        table: the file.
        rows: each id's row in it, int64 ``[n_ids]``; -1 for the padding alone.
    """

    table: EmbeddingTable
    rows: np.ndarray

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return len(self.rows) * self.table.width * self.table.matrix.dtype.itemsize

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Copy the rows of some ids ``[m]``, none of them the padding, as ``[m, width]``."""
        rows = self.rows[ids]
        found = np.empty((len(rows), self.table.width), self.table.matrix.dtype)
        # A few at a time, in the order of the file: the system maps up to megabytes around a page
        # that is touched, and they are given back after each block.
        order = np.argsort(rows, kind="stable")
        for start in range(0, len(order), _MAPPED_ROWS):
            some_of_them = order[start : start + _MAPPED_ROWS]
            found[some_of_them] = self.table.take(rows[some_of_them])
        return found


def lookup_or_map(
    table: EmbeddingTable,
    tokens_by_id: Sequence[str],
    *,
    kind: str,
    missing: str = "error",
    mapped_from: int | None = None,
) -> tuple[np.ndarray | MappedRows, Coverage]:
    """Do as :func:`lookup`, and leave many rows in their file.

    Args:
        table, tokens_by_id, kind, missing: as there.
        mapped_from: as :func:`mapped_rows` has it; None: never.

    Returns:
        the rows, or where they stand in the file, and the coverage.

    Raises:
        EmbeddingError, ValueError: as :func:`lookup`.
    """
    rows, coverage = cover(table, tokens_by_id, kind=kind, missing=missing)
    if mapped_from is not None:
        mapped = mapped_rows(table, rows, tokens_by_id, kind=kind, mapped_from=mapped_from)
        if mapped is not None:
            return mapped, coverage
    out = np.zeros((len(rows), table.width), dtype=rows_dtype(table))
    fill(out[1:], table, rows, tokens_by_id, kind=kind, missing=missing)
    return out, coverage


def mapped_rows(
    table: EmbeddingTable,
    rows: np.ndarray,
    tokens_by_id: Sequence[str],
    *,
    kind: str,
    mapped_from: int,
) -> MappedRows | None:
    """Return the rows as they stand in their file, None where they are to be copied.

    Args:
        table: what was read from the file.
        rows: of each id, as :func:`cover` returns them.
        tokens_by_id, kind: for messages.
        mapped_from: from how many bytes on rows stay in their file, if this can be mapped and has
            every id's.

    Raises:
        EmbeddingError: a row that is used holds NaN or infinity.
    """
    mapped = MappedRows(replace(table, tokens=()), rows)  # the tokens have done their work
    complete = bool((rows[1:] >= 0).all()) and table.matrix.dtype == rows_dtype(table)
    if table.mapping is None or not complete or mapped.nbytes < mapped_from:
        return None
    in_file_order = np.argsort(rows[1:], kind="stable") + 1
    for start in range(0, in_file_order.size, block_rows(table)):
        ids = in_file_order[start : start + block_rows(table)]
        require_finite(mapped.take(ids), [str(tokens_by_id[i]) for i in ids], kind, table)
    return mapped

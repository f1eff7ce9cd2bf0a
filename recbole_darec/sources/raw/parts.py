"""A raw file part by part: a block of its lines, or rows of a Parquet file.

A part is read in columns where nothing in it is odd, and record by record where something is.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recbole_darec.sources.raw.columns import Block, BlockReader, TableReader
from recbole_darec.sources.raw.files import is_parquet, read_batches, rows_of
from recbole_darec.sources.raw.lines import Faults, Record, lines_of, read_blocks
from recbole_darec.sources.raw.source import Source

__all__ = ["Part", "parts_of"]

_ROWS = 16_384  # of a Parquet file that are read at once


class Part(Protocol):
    """Some records of a file, one below the other."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def block(self, reviews: bool = False) -> Block | None:
        """Read them in columns; None where one of them must be looked at by itself."""
        ...

    def records(self, faults: Faults | None = None) -> Iterator[Record]:
        """Give them one by one, and count them."""
        ...

    def some(self, rows: np.ndarray) -> Part:
        """Return those of these numbers alone, in their order."""
        ...


def parts_of(source: Source, path: Path, what: str, reviews: bool = False) -> Iterator[Part] | None:
    """Give a file of interactions part by part; None where it is read record by record alone.

    Args:
        source: the raw data.
        path: one of its files.
        what: what the progress bar says.
        reviews: whether texts are read.

    Raises:
        DataError: the file cannot be read.
    """
    if not is_parquet(path):
        lines = source.columns
        return (_Lines(lines, some) for some in read_blocks(path, what)) if lines else None
    table = source.table_columns
    if table is None:
        return None
    fields = source.fields if reviews else table.fields
    return (_Rows(table, some) for some in read_batches(path, what, fields, _ROWS))


class _Lines:
    def __init__(self, reader: BlockReader, content: bytes) -> None:
        self._reader, self._content = reader, content

    def __len__(self) -> int:
        return self._content.count(b"\n") + (self._content[-1:] != b"\n")

    def block(self, reviews: bool = False) -> Block | None:
        return self._reader.read(self._content, reviews)

    def records(self, faults: Faults | None = None) -> Iterator[Record]:
        return lines_of(self._content, faults)

    def some(self, rows: np.ndarray) -> _Lines:
        lines = io.BytesIO(self._content).readlines()
        return _Lines(self._reader, b"".join([lines[n] for n in rows.tolist()]))


class _Rows:
    def __init__(self, reader: TableReader, rows: Any) -> None:
        self._reader, self._rows = reader, rows

    def __len__(self) -> int:
        return len(self._rows)

    def block(self, reviews: bool = False) -> Block | None:
        return self._reader.read_table(self._rows, reviews)

    def records(self, faults: Faults | None = None) -> Iterator[Record]:
        return rows_of(self._rows, faults)

    def some(self, rows: np.ndarray) -> _Rows:
        return _Rows(self._reader, self._rows.take(rows))

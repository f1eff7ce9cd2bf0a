"""Raw files of either kind: lines of a text file, or rows of a Parquet file as dictionaries."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from recbole_darec.errors import DataError, MissingExtraError
from recbole_darec.sources.raw.lines import Faults, Record, read_lines

__all__ = ["is_parquet", "read_batches", "read_file", "rows_of"]

_MAGIC = b"PAR1"
_ROWS = 4096  # of a Parquet file that are in memory at once


def is_parquet(path: Path) -> bool:
    """Tell a Parquet file by its content."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def read_file(
    path: Path, faults: Faults | None = None, what: str = "", fields: Collection[str] = ()
) -> Iterator[Record]:
    """Give the lines of a text file (see :func:`.lines.read_lines`) or the rows of a Parquet file.

    Args:
        path: the file.
        faults: counts the lines; ``None`` where that was done before.
        what: what the progress bar says; none without it.
        fields: the columns of a Parquet file that are read, as far as it has them; all without it.

    Raises:
        DataError: the file cannot be read, or is damaged.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    if is_parquet(path):
        yield from _rows(path, faults, what, fields)
    else:
        yield from read_lines(path, faults, what)


def _rows(
    path: Path, faults: Faults | None, what: str, fields: Collection[str]
) -> Iterator[dict[str, Any]]:
    for batch in read_batches(path, what, fields):
        yield from rows_of(batch, faults)


def rows_of(batch: Any, faults: Faults | None = None) -> Iterator[dict[str, Any]]:
    """Give the rows of a ``pyarrow.RecordBatch`` as dictionaries, and count them."""
    rows: list[dict[str, Any]] = batch.to_pylist()
    for row in rows:
        if faults is not None:
            faults.lines += 1
        yield row


def read_batches(
    path: Path, what: str, fields: Collection[str], size: int = _ROWS
) -> Iterator[Any]:
    """Give a Parquet file in order as ``pyarrow.RecordBatch``, at most ``size`` rows each.

    Args:
        path: the file.
        what, fields: as for :func:`read_file`.
        size: of a batch.

    Raises:
        DataError: the file cannot be read, or is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    from tqdm import tqdm

    try:
        with (
            pq.ParquetFile(path) as file,
            tqdm(
                total=file.metadata.num_rows,
                desc=what,
                file=sys.stderr,
                disable=None if what else True,
                leave=False,
            ) as bar,
        ):
            wanted = [n for n in file.schema_arrow.names if n in fields] if fields else None
            for batch in file.iter_batches(size, columns=wanted):
                yield batch
                bar.update(len(batch))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}; download it again") from None

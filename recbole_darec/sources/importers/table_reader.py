"""Reading a table of interactions: delimited text or Parquet, its columns checked."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.files import progress
from recbole_darec.data.profile_files import open_text
from recbole_darec.errors import DataError, MissingExtraError, nearest, some

__all__ = [
    "COLUMNS",
    "IDS",
    "NUMBERS",
    "SPLIT_NAMES",
    "first_true",
    "numbers_of",
    "read_interactions",
]

IDS = ("user_id", "item_id")
NUMBERS = ("rating", "timestamp")
COLUMNS = (*IDS, "split", *NUMBERS)
SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid"}
SPLIT_NAMES["test"] = "test"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_CHUNK_ROWS = 500_000


def read_interactions(path: Path) -> Any:
    """Read the known columns as a ``pandas.DataFrame``: ids, split as text, the others as float."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: --interactions is a .csv, .tsv or .parquet file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in (".parquet", ".pq"):
        frame = _read_parquet(path)
    elif suffix in _SEPARATORS:
        frame = _read_delimited(path, _SEPARATORS[suffix])
    else:
        raise DataError(
            f"{path} is none of .csv, .tsv (both also .gz) and .parquet; rename or convert it"
        )
    if not len(frame):
        raise DataError(f"{path} has no interactions")
    return frame


def _check_columns(path: Path, columns: Sequence[str]) -> list[str]:
    missing = [column for column in IDS if column not in columns]
    if missing:
        hint = nearest(missing[0], columns)
        raise DataError(
            f"{path} has no column '{missing[0]}'{hint}: it must have user_id and item_id, and may "
            "have split, rating and timestamp"
        )
    if len(set(columns)) != len(columns):
        raise DataError(f"{path} names a column twice: {some(columns)}")
    return [column for column in COLUMNS if column in columns]


def _read_delimited(path: Path, separator: str) -> Any:
    import pandas as pd

    with open_text(path) as file:
        head = file.readline()
    # pandas would rename a repeated column, and read a first column without a name as an index
    names = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
    wanted = _check_columns(path, [name.strip() for name in names])
    chunks = []
    try:
        reader = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
            chunksize=_CHUNK_ROWS,
        )
        with reader:
            for chunk in progress(reader, f"rows / {_CHUNK_ROWS:,}"):
                if not isinstance(chunk.index, pd.RangeIndex):
                    raise DataError(f"{path}: its rows have more fields than its header")
                chunk.columns = [str(column).strip() for column in chunk.columns]
                chunks.append(chunk[wanted])
    except (pd.errors.ParserError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    frame = pd.concat(chunks, ignore_index=True)
    for column in wanted:
        short = frame[column].isna()
        if short.any():
            raise DataError(f"{path}, row {first_true(short)}: fewer fields than the header")
    for column in (c for c in NUMBERS if c in wanted):
        frame[column] = numbers_of(path, column, frame[column])
    return frame


def _read_parquet(path: Path) -> Any:
    import pandas as pd

    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    try:
        with pq.ParquetFile(path) as file:
            wanted = _check_columns(path, file.schema_arrow.names)
            table = file.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    columns: dict[str, Any] = {}
    for name in wanted:
        column = table.column(name)
        if name in NUMBERS:
            columns[name] = numbers_of(path, name, column.to_pandas())
            continue
        if column.null_count:
            row = first_true(column.is_null().to_numpy())
            raise DataError(f"{path}, row {row}: no {name}")
        if pa.types.is_floating(column.type):  # as pandas writes integers once one was missing
            values = column.to_numpy()
            whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)
            if not whole.all():
                raise DataError(f"{path}, row {first_true(~whole)}: the {name} is no whole number")
            column = pa.chunked_array([pa.array(values.astype(np.int64))])
        try:
            text = column.cast(pa.string())
        except pa.ArrowException:
            raise DataError(f"{path}: column {name} holds {column.type}, not ids") from None
        columns[name] = np.array(text.to_pylist(), dtype=object)
    return pd.DataFrame(columns)


def first_true(flags: Any) -> int:
    """The number of the first flagged row of a table, counting from 1."""
    return int(np.argmax(np.asarray(flags, dtype=bool))) + 1


def numbers_of(path: Path, column: str, values: Any) -> np.ndarray:
    import pandas as pd

    if getattr(values.dtype, "kind", "") == "M":  # a date: seconds since 1970, in UTC
        seconds = (values - pd.Timestamp(0, tz=values.dt.tz)) / pd.Timedelta(seconds=1)
        numbers = seconds.to_numpy(dtype=np.float64)
    else:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = first_true(bad)
        raise DataError(f"{path}, row {row}: {column} '{values.iloc[row - 1]}' is no number")
    return numbers

"""Reading tables of interactions: delimited text or Parquet, their columns named and checked."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.categories import categorical, categories_of, joined_categories
from recbole_darec.data.files import progress
from recbole_darec.data.profile_files import open_text
from recbole_darec.errors import DataError, MissingExtraError, nearest, some
from recbole_darec.sources.importers.cells import empty_cells, first_true, numbers_of

__all__ = [
    "COLUMNS",
    "IDS",
    "NUMBERS",
    "SPLIT_NAMES",
    "TableForm",
    "read_interactions",
]

IDS = ("user_id", "item_id")
NUMBERS = ("rating", "timestamp")
COLUMNS = (*IDS, "split", *NUMBERS)
SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid"}
SPLIT_NAMES["test"] = "test"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_FOUND = (",", "\t", ";", "|")  # separators that are looked for where the name's own is not there
_CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class TableForm:
    """How a table is to be read.

    Attributes:
        names: the table's own name of a column by ours, such as ``{"user_id": "userId"}``.
        separator: of delimited text; None takes what the header shows.
        empty: what to do about ratings and times that are not there: ``error``, ``drop-rows``
            or ``drop-column``.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    empty: str = "error"

    def own(self, column: str) -> str:
        """Return what the table calls a column of ours."""
        return self.names.get(column, column)


def read_interactions(files: Sequence[str | Path], form: TableForm) -> tuple[Any, dict[str, int]]:
    """Read the known columns of one or several tables with the same columns, one below the other.

    Args:
        files: paths; ``train=PATH``, ``valid=PATH`` and ``test=PATH`` say whose part a file is.
        form: how they are read.

    Returns:
        A ``pandas.DataFrame`` of ids as categories of text, split as text, the others as float;
        and how many rows were dropped by what they lack.

    Raises:
        DataError: a file is missing or malformed; the message names file and row.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    import pandas as pd

    frames: list[Any] = []
    dropped = dict.fromkeys(NUMBERS, 0)
    for file in files:
        part, path = _part_of(str(file))
        frame = _checked(path, _read(path, form), form, dropped)
        if part is not None:
            if "split" in frame.columns:
                raise DataError(f"{path} has a split column: leave out '{part}=' before its name")
            frame = frame.assign(split=part)
        if frames and list(frame.columns) != list(frames[0].columns):
            raise DataError(
                f"{path} has the columns {', '.join(frame.columns)}, and {files[0]} has "
                f"{', '.join(frames[0].columns)}: tables that are read together have the same"
            )
        frames.append(frame)
    frames = [
        frame.assign(**{column: categories_of(frame[column]) for column in IDS}) for frame in frames
    ]
    whole = pd.concat(joined_categories(frames), ignore_index=True)
    return whole, {column: n for column, n in dropped.items() if n}


def _part_of(file: str) -> tuple[str | None, Path]:
    part, equals, path = file.partition("=")
    if equals and part.lower() in SPLIT_NAMES and not Path(file).exists():
        return SPLIT_NAMES[part.lower()], Path(path)
    return None, Path(file)


def _read(path: Path, form: TableForm) -> Any:
    if not path.is_file():
        raise DataError(f"{path} does not exist: --interactions is a .csv, .tsv or .parquet file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in (".parquet", ".pq"):
        frame = _read_parquet(path, form)
    elif suffix in _SEPARATORS:
        frame = _read_delimited(path, _SEPARATORS[suffix], form)
    else:
        raise DataError(
            f"{path} is none of .csv, .tsv (both also .gz) and .parquet; rename or convert it"
        )
    if not len(frame):
        raise DataError(f"{path} has no interactions")
    return frame


def _checked(path: Path, frame: Any, form: TableForm, dropped: dict[str, int]) -> Any:
    """Return a table with numbers in its number columns; ``dropped`` counts what it lost."""
    for column in (c for c in NUMBERS if c in frame.columns):
        empty = empty_cells(frame[column])
        if empty.any():
            if form.empty == "drop-column":
                frame = frame.drop(columns=column)
                continue
            if form.empty == "error":
                raise DataError(
                    f"{path}: {int(empty.sum()):,} of {len(frame):,} rows have no {column} (the "
                    f"first is row {first_true(empty)}): --empty=drop-rows leaves these rows out, "
                    "--empty=drop-column the column"
                )
            dropped[column] += int(empty.sum())
            frame = frame[~empty]
            if not len(frame):
                raise DataError(f"{path}: no row has a {column}; --empty=drop-column leaves it out")
        frame = frame.assign(**{column: numbers_of(path, column, frame[column])})
    return frame


def _check_columns(path: Path, columns: Sequence[str], form: TableForm) -> dict[str, str]:
    """Return our name of each column that is read, by the table's own name.

    Raises:
        DataError: a column is missing, or named twice.
    """
    asked = [column for column in COLUMNS if column in IDS or column in form.names]
    for column in asked:
        if form.own(column) in columns:
            continue
        hint = nearest(form.own(column), columns)
        renamed = f" for {column}" if form.own(column) != column else ""
        raise DataError(
            f"{path} has no column '{form.own(column)}'{renamed}{hint}: it has "
            f"{some(columns, 10)}; --columns {column}=NAME says which one is meant"
        )
    if len(set(columns)) != len(columns):
        raise DataError(f"{path} names a column twice: {some(columns)}")
    return {form.own(column): column for column in COLUMNS if form.own(column) in columns}


def _separator(head: str, usual: str, form: TableForm) -> str:
    """Return the separator that splits the header into the most columns that are asked for."""
    if form.separator is not None:
        return form.separator

    def known(separator: str) -> int:
        names = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
        return len({name.strip() for name in names} & {form.own(column) for column in COLUMNS})

    return max((usual, *_FOUND), key=known)


def _read_delimited(path: Path, usual: str, form: TableForm) -> Any:
    import pandas as pd

    with open_text(path) as file:
        head = file.readline()
    separator = _separator(head, usual, form)
    # pandas would rename a repeated column, and read a first column without a name as an index
    names = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
    wanted = _check_columns(path, [name.strip() for name in names], form)
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
                chunk = chunk[list(wanted)]
                ids = [name for name, ours in wanted.items() if ours in IDS]
                chunks.append(chunk.assign(**{name: categories_of(chunk[name]) for name in ids}))
    except (pd.errors.ParserError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    frame = pd.concat(joined_categories(chunks), ignore_index=True).rename(columns=wanted)
    for column in wanted.values():
        short = frame[column].isna()
        if short.any():
            raise DataError(f"{path}, row {first_true(short)}: fewer fields than the header")
    return frame


def _read_parquet(path: Path, form: TableForm) -> Any:
    import pandas as pd

    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    try:
        schema = pq.read_schema(path)
        wanted = _check_columns(path, schema.names, form)
        texts = [own for own, name in wanted.items()
                 if name in IDS and _is_text(pa, schema.field(own).type)]  # fmt: skip
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=list(wanted))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    columns: dict[str, Any] = {}
    for own, name in wanted.items():
        column = table.column(own)
        if name in NUMBERS:
            columns[name] = column.to_pandas()
            continue
        if column.null_count:
            row = first_true(column.is_null().to_numpy())
            raise DataError(f"{path}, row {row}: no {own}")
        if pa.types.is_floating(column.type):  # as pandas writes integers once one was missing
            values = column.to_numpy()
            whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)
            if not whole.all():
                raise DataError(f"{path}, row {first_true(~whole)}: the {own} is no whole number")
            column = pa.chunked_array([pa.array(values.astype(np.int64))])
        if own in texts:
            columns[name] = categorical(column)
            continue
        try:
            text = column.cast(pa.string())
        except pa.ArrowException:
            raise DataError(f"{path}: column {own} holds {column.type}, not ids") from None
        if name not in IDS:
            columns[name] = np.array(text.to_pylist(), dtype=object)
            continue
        columns[name] = categorical(text.dictionary_encode())
    return pd.DataFrame(columns)


def _is_text(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))

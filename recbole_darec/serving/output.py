"""Recommendations into a file as they come, or on the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from recbole_darec.data.files import replacing
from recbole_darec.errors import MissingExtraError, OptionError

__all__ = ["check_extra", "pyarrow_parquet", "table", "titles_of", "written"]

_MOST_ROWS = 1000  # on a terminal


@contextmanager
def written(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Open a file of recommendations; it is there when the body has ended, and whole.

    Args:
        path: ``.parquet``, ``.csv`` or ``.jsonl``.

    Yields:
        A function that appends a frame; all frames have the same columns.

    Raises:
        MissingExtraError: Parquet without pyarrow.
    """
    check_extra(path)
    with replacing(path) as file, _WRITERS[path.suffix](file) as append:
        yield append


def check_extra(path: Path) -> None:
    """Refuse a Parquet file where pyarrow is not installed, before anything is computed.

    Raises:
        MissingExtraError: the message names the extra.
    """
    if path.suffix == ".parquet":
        pyarrow_parquet()


@contextmanager
def _csv(file: IO[bytes]) -> Iterator[Callable[[pd.DataFrame], None]]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    header = True

    def append(frame: pd.DataFrame) -> None:
        nonlocal header
        frame.to_csv(text, index=False, header=header, lineterminator="\n")
        header = False

    yield append
    text.flush()
    text.detach()


@contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Callable[[pd.DataFrame], None]]:
    def append(frame: pd.DataFrame) -> None:
        if len(frame):
            text = frame.to_json(orient="records", lines=True, force_ascii=False)
            file.write(text.rstrip("\n").encode() + b"\n")

    yield append


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Callable[[pd.DataFrame], None]]:
    pyarrow = pyarrow_parquet()
    from pyarrow.parquet import ParquetWriter

    writer: Any = None

    def append(frame: pd.DataFrame) -> None:
        nonlocal writer
        rows = pyarrow.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = ParquetWriter(file, rows.schema)
        writer.write_table(rows)

    yield append
    if writer is not None:
        writer.close()


_WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}


def pyarrow_parquet() -> Any:
    """Return pyarrow with its Parquet module.

    Raises:
        MissingExtraError: it is not installed; the message names the extra.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "parquet") from None
    return pyarrow


def table(frames: Iterable[pd.DataFrame], titles: Mapping[str, str]) -> str:
    """Return recommendations as text, with the items' titles where there are.

    Args:
        frames: what is shown; few rows.
        titles: title of an item by its id.

    Raises:
        OptionError: there are too many rows for a terminal.
    """
    shown: list[pd.DataFrame] = []
    n_rows = 0
    for frame in frames:
        shown.append(frame)
        n_rows += len(frame)
        if n_rows > _MOST_ROWS:
            raise OptionError(
                f"more than {_MOST_ROWS:,} rows to show: name a file with --out, or fewer users"
            )
    rows = pd.concat(shown, ignore_index=True)
    if titles:
        rows["title"] = [titles.get(item, "") for item in rows[rows.columns[2]]]
    rows["score"] = [f"{score:.4f}" for score in rows["score"]]
    text = rows.to_string(index=False, max_colwidth=60, justify="left")
    return "\n".join(line.rstrip() for line in text.splitlines())


def titles_of(run: Any) -> dict[str, str]:
    """Return the items' titles by id, where the data set's ``.item`` file has such a column."""
    folder, name = Path(run.config["data_path"]), run.config["dataset"]
    path = folder / f"{name}.item"
    if not path.is_file():
        return {}
    frame = pd.read_csv(path, sep=run.config["field_separator"], dtype=str, quoting=3)
    fields = {column.split(":")[0]: column for column in frame.columns}
    id_column = fields.get(run.dataset.iid_field)
    title = next((fields[field] for field in fields if "title" in field.lower()), None)
    title = title or next((fields[field] for field in fields if "name" in field.lower()), None)
    if id_column is None or title is None:
        return {}
    return dict(zip(frame[id_column], frame[title].fillna("")))

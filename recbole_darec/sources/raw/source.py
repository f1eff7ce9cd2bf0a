"""What the sources have in common: the shape of one, finding its files, reading its dates."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from recbole_darec.errors import DataError, some
from recbole_darec.sources.raw.columns import BlockReader, TableReader
from recbole_darec.sources.raw.lines import LineFault, Record

__all__ = [
    "Beside",
    "Row",
    "Source",
    "Table",
    "existing",
    "file_named",
    "files_below",
    "not_found",
    "seconds",
]

_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


class Row(NamedTuple):
    """One interaction: ids, rating and time (0 where the source has none), and its review."""

    user: str
    item: str
    rating: float
    time: float
    review: str


@dataclass(frozen=True)
class Beside:
    """A file with further texts for a table.

    Attributes:
        path: the file.
        columns: the places of the table's columns that it fills.
        parse: one line -> (key, one text a column); raises ``LineFault``.
        by_id: whether a key is the table's id; else the one column has keys, separated by blanks,
            in whose place the texts are put, separated by ``, ``.
    """

    path: Path
    columns: Sequence[int]
    parse: Callable[[Record], tuple[str, Sequence[str]]]
    by_id: bool = True


@dataclass(frozen=True)
class Table:
    """A file with texts about items or users.

    Attributes:
        kind: ``"item"`` or ``"user"``.
        path: the file.
        columns: the fields of the atomic file without the id, each with its type.
        parse: one line -> (id, one text a column), None where the line is none of the table's, as
            a header; raises ``LineFault``.
        more: further files of the same form; of an id the first record counts.
        beside: files with texts for some of the columns.
        fields: the columns of a Parquet file that are read; all without it.
    """

    kind: str
    path: Path
    columns: Sequence[str]
    parse: Callable[[Record], tuple[str, Sequence[str]] | None]
    more: Sequence[Path] = ()
    beside: Sequence[Beside] = ()
    fields: Collection[str] = ()


@dataclass(frozen=True)
class Source:
    """One raw data set, opened.

    Attributes:
        name: of the source.
        interactions: the file with the interactions.
        parse: one line -> its interactions, mostly one; raises ``LineFault``.
        rated, timed, reviewed: whether the interactions have ratings, times, texts.
        tables: the files with texts, at most one of a kind.
        clean: puts a review on one line.
        lacking: the kinds of texts that the source could have and that are not there.
        more: further files of interactions, of the same form.
        fields: the columns of a Parquet file that are read; all without it.
        least: where there are no ratings to be written, the least ``rating`` of an interaction
            that counts, as for thumbs up and down; None takes all.
        columns: the same as ``parse`` for many lines at once; None where there is no such reader.
        table_columns: the same of rows of a Parquet file.
    """

    name: str
    interactions: Path
    parse: Callable[[Record], Sequence[Row]]
    rated: bool
    timed: bool
    reviewed: bool
    clean: Callable[[str], str]
    tables: Sequence[Table] = field(default_factory=tuple)
    lacking: Sequence[str] = field(default_factory=tuple)
    more: Sequence[Path] = ()
    fields: Collection[str] = ()
    least: float | None = None
    columns: BlockReader | None = None
    table_columns: TableReader | None = None

    @property
    def files(self) -> list[Path]:
        """All files of interactions, in the order in which they are read."""
        return [self.interactions, *self.more]


def not_found(raw: Path, what: str, files: Iterable[Path]) -> DataError:
    """Return the error for a folder that lacks what is needed.

    Args:
        raw: the folder.
        what: says which files would do.
        files: what is there; packed ones are named.
    """
    packed = [path.name for path in files if path.name.lower().endswith(_PACKED)]
    return DataError(f"{raw} has {what}" + (f"; unpack {some(packed)} first" if packed else ""))


def existing(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that the user named; raise :class:`DataError` if it is none."""
    found = Path(path)
    if not found.is_file():
        raise DataError(f"there is no file {found}")
    return found


def files_below(folder: Path, depth: int = 2) -> list[Path]:
    """Return the files in a folder and, so many levels deep, in its sub-folders, by name.

    Hidden files and folders are passed over.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"--raw {folder} is no folder: give the one with the raw files")
    try:
        return sorted(_walk(folder, depth))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from None


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif depth and path.is_dir():
            yield from _walk(path, depth - 1)


def file_named(files: Iterable[Path], names: Sequence[str], option: str = "") -> Path | None:
    """Return the one file that has one of these names, with or without ``.gz``; ``None`` for none.

    Args:
        files: what :func:`files_below` found.
        names: in lower case.
        option: that can name the file that is meant, for the message.

    Raises:
        DataError: there are several.
    """
    found = [path for path in files if path.name.lower().removesuffix(".gz") in names]
    if len(found) > 1:
        way_out = f"name one with {option}" if option else "leave one of them there"
        raise DataError(f"there is more than one such file ({some(found)}): {way_out}")
    return found[0] if found else None


@lru_cache(maxsize=1 << 14)
def _days(year: str, month: str, day: str) -> int:
    return date(int(year), int(month), int(day)).toordinal() - date(1970, 1, 1).toordinal()


def seconds(text: object, key: str) -> float:
    """Read ``2017-12-24`` or ``2017-12-24 18:30:05`` as seconds since 1970, taken as UTC.

    Raises:
        LineFault: it is missing or no such date.
    """
    if not isinstance(text, str):
        raise LineFault(f"no '{key}'" if text is None else f"'{key}' is no text")
    try:
        if text[4] != "-" or text[7] != "-":
            raise ValueError
        total = 86400 * _days(text[:4], text[5:7], text[8:10])
        if len(text) > 10:
            hours, minutes, rest = text[11:].split(":")
            total += 3600 * int(hours) + 60 * int(minutes) + int(rest)
        return float(total)
    except (ValueError, IndexError):
        raise LineFault(f"'{key}' is no date") from None

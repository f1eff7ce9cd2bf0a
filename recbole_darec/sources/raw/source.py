"""What the sources have in common: the shape of one, finding its files, reading its dates."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from recbole_darec.errors import DataError, some
from recbole_darec.sources.raw.lines import LineFault

__all__ = ["Row", "Source", "Table", "existing", "file_named", "files_below", "seconds"]


class Row(NamedTuple):
    """One interaction: ids, rating and time (0 where the source has none), and its review."""

    user: str
    item: str
    rating: float
    time: float
    review: str


@dataclass(frozen=True)
class Table:
    """A file with texts about items or users.

    Attributes:
        kind: ``"item"`` or ``"user"``.
        path: the file.
        columns: the fields of the atomic file without the id, each with its type.
        parse: one line -> (id, one text a column); raises ``LineFault``.
    """

    kind: str
    path: Path
    columns: Sequence[str]
    parse: Callable[[bytes], tuple[str, Sequence[str]]]


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
    """

    name: str
    interactions: Path
    parse: Callable[[bytes], Sequence[Row]]
    rated: bool
    timed: bool
    reviewed: bool
    clean: Callable[[str], str]
    tables: Sequence[Table] = field(default_factory=tuple)
    lacking: Sequence[str] = field(default_factory=tuple)


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

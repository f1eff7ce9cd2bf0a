"""Many lines of delimited text at once, as columns.

Only a block of lines of which nothing is odd is read so; everything else is left to the source's
own parser, line by line, which knows what is a fault and what is mended.  Both give the same.  JSON
lines are in :mod:`.json_columns`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from recbole_darec.data.atomic import all_sound
from recbole_darec.sources.raw.csv_lines import finite
from recbole_darec.sources.raw.lines import MAX_LINE, LineFault

__all__ = ["Block", "BlockReader", "Coded", "Columns", "TableReader", "field_bounds", "whole_lines"]

_ODD = (b'"', b"\0", b"\xef\xbb\xbf")  # quotes, what ends a text in C, byte order marks
_DIGITS = 18  # of a number below 2**63


class Coded(NamedTuple):
    """A column of texts.

    Attributes:
        places: of each row's text among the distinct ones, int64, shape ``(n,)``.
        texts: the distinct ones.
    """

    places: np.ndarray
    texts: list[str]


class Block(NamedTuple):
    """The interactions of a block of lines.

    Attributes:
        users, items: the ids.
        ratings, times: float64, shape ``(n,)``; times are seconds.
        crlf: whether each line ended with CRLF.
        reviews: their texts as they were written, objects of shape ``(n,)``; None where they were
            not asked for.
        per_line: how many each line has, int64, shape ``(lines,)``; None for one each.
    """

    users: Coded
    items: Coded
    ratings: np.ndarray
    times: np.ndarray
    crlf: bool
    reviews: np.ndarray | None = None
    per_line: np.ndarray | None = None

    @property
    def counts(self) -> np.ndarray:
        """How many each line has, uint16, shape ``(lines,)``."""
        if self.per_line is None:
            return np.ones(len(self.ratings), dtype=np.uint16)
        return self.per_line.astype(np.uint16)


class BlockReader(Protocol):
    """Reads many lines at once, as the source's parser reads one."""

    def read(self, content: bytes, reviews: bool = False) -> Block | None:
        """Read a block of whole lines; None where one of them must be looked at by itself.

        Args:
            content: the block, whose last line may lack its end.
            reviews: whether the texts are wanted, too.
        """
        ...


class TableReader(Protocol):
    """Reads rows of a Parquet file at once, as the source's parser reads one.

    Attributes:
        fields: the columns that an interaction without its text is read from.
    """

    @property
    def fields(self) -> Collection[str]: ...

    def read_table(self, rows: Any, reviews: bool = False) -> Block | None:
        """Read a ``pyarrow.RecordBatch``; None where a row must be looked at by itself.

        Args:
            rows: of the file, with its columns or some of them.
            reviews: whether the texts are wanted, too.
        """
        ...


@dataclass(frozen=True)
class Columns:
    """Where the parts of an interaction stand in a line, and how they are read.

    Attributes:
        separator: one character, or one twice.
        fields: how many a line has.
        places: of user, item, rating and time.
        rating: text -> rating; raises ``LineFault``.  It is asked for distinct texts alone.
        time: the same of a time, in seconds; None where times are numbers.
        per_second: of these, how many make a second.
    """

    separator: str
    fields: int
    places: Sequence[int]
    rating: Callable[[str], float] = lambda text: finite(text, "rating")
    time: Callable[[str], float] | None = None
    per_second: float = 1

    def read(self, content: bytes, reviews: bool = False) -> Block | None:
        """Read a block of whole lines, which have no texts, as :class:`BlockReader` says."""
        crlf = b"\r" in content
        plain = _plain(content, self.separator.encode())
        if plain is None:
            return None
        content, separator = plain
        codes = np.frombuffer(content, dtype=np.uint8)
        bounds = field_bounds(codes, ord(separator), self.fields)
        if bounds is None:
            return None
        user, item, rating, time = self.places
        whole = None
        if self.time is None:
            whole = _whole(codes, bounds[:, time] + 1, bounds[:, time + 1])
        wanted = [user, item, rating] if whole is not None else [user, item, rating, time]
        frame = _texts(content, separator.decode(), self.fields, wanted)
        users, items = _coded(frame[user]), _coded(frame[item])
        if not (all_sound(users.texts) and all_sound(items.texts)):
            return None
        try:
            ratings = _numbers(frame[rating], self.rating)
            times = whole if whole is not None else _numbers(frame[time], self.time or _number)
        except LineFault:
            return None
        return Block(users, items, ratings, times / self.per_second, crlf)


def _number(text: str) -> float:
    return finite(text, "time")


def _plain(content: bytes, separator: bytes) -> tuple[bytes, bytes] | None:
    """Return lines that all end with LF alone, and the one character that separates their cells."""
    if any(mark in content for mark in _ODD):
        return None
    lines = whole_lines(content)
    if lines is None:
        return None
    if len(separator) == 2:
        if b"\t" in lines or lines.count(separator[:1]) != 2 * lines.count(separator):
            return None
        lines, separator = lines.replace(separator, b"\t"), b"\t"
    return lines, separator


def whole_lines(content: bytes) -> bytes | None:
    """Return lines of UTF-8 that all end with LF alone; None where that is more than their ends."""
    if len(content) > MAX_LINE:
        return None
    if b"\r" in content:
        ends = content.count(b"\r\n")
        if not content.count(b"\r") == content.count(b"\n") == ends or content[-1:] != b"\n":
            return None
        content = content.replace(b"\r\n", b"\n")
    elif content[-1:] != b"\n":
        content += b"\n"
    try:
        if not content.isascii():
            content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return content


def field_bounds(codes: np.ndarray, separator: int, fields: int) -> np.ndarray | None:
    """Return what stands before and behind each field, int64 ``[lines, fields + 1]``.

    None where a line has not so many, two or more.
    """
    ends = np.flatnonzero(codes == ord("\n"))
    marks = np.flatnonzero(codes == separator)
    if len(marks) != (fields - 1) * len(ends):
        return None
    bounds = np.empty((len(ends), fields + 1), dtype=np.int64)
    bounds[0, 0] = -1
    bounds[1:, 0] = ends[:-1]
    bounds[:, 1:-1] = marks.reshape(len(ends), fields - 1)
    bounds[:, -1] = ends
    even = (bounds[:, 1] > bounds[:, 0]).all() and (bounds[:, -1] > bounds[:, -2]).all()
    return bounds if even else None


def _whole(codes: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """Return fields of 1 to 18 digits as float64, each the nearest; None where one is no such."""
    sizes = ends - begins
    longest = int(sizes.max())
    if longest > _DIGITS or not sizes.all():
        return None
    found = np.zeros(len(sizes), dtype=np.int64)
    for place in range(longest):
        digits = codes[np.maximum(ends - 1 - place, 0)] - np.uint8(ord("0"))  # wraps below it
        digits[sizes <= place] = 0
        if (digits > 9).any():
            return None
        found += digits.astype(np.int64) * 10**place
    return found.astype(np.float64)


def _texts(content: bytes, separator: str, fields: int, wanted: Sequence[int]) -> Any:
    """Return columns of plain lines as a ``pandas.DataFrame`` of texts."""
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(content),
        sep=separator,
        header=None,
        names=range(fields),
        usecols=list(wanted),
        dtype=object,
        index_col=False,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        skip_blank_lines=False,
        encoding="utf-8",
        engine="c",
        low_memory=False,
    )


def _coded(column: Any) -> Coded:
    import pandas as pd

    places, texts = pd.factorize(column.to_numpy(dtype=object))
    return Coded(places, texts.tolist())


def _numbers(column: Any, number: Callable[[str], float]) -> np.ndarray:
    places, texts = _coded(column)
    return np.array([number(text) for text in texts], dtype=np.float64)[places]

"""Many lines of delimited text at once, as columns.

Only a block of lines of which nothing is odd is read so; everything else is left to the source's
own parser, line by line, which knows what is a fault and what is mended.  Both give the same.  JSON
lines have no columns: there the cost is the parser of each record.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from recbole_darec.data.atomic import all_sound
from recbole_darec.sources.raw.csv_lines import finite
from recbole_darec.sources.raw.lines import MAX_LINE, LineFault

__all__ = ["Block", "Coded", "Columns"]

_ODD = (b'"', b"\0", b"\xef\xbb\xbf")  # quotes, what ends a text in C, byte order marks


class Coded(NamedTuple):
    """A column of texts.

    Attributes:
        places: of each row's text among the distinct ones, int64, shape ``(n,)``.
        texts: the distinct ones.
    """

    places: np.ndarray
    texts: list[str]


class Block(NamedTuple):
    """The interactions of a block of lines, one a line.

    Attributes:
        users, items: the ids.
        ratings, times: float64, shape ``(n,)``; times are seconds.
        crlf: whether each line ended with CRLF.
    """

    users: Coded
    items: Coded
    ratings: np.ndarray
    times: np.ndarray
    crlf: bool


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

    def read(self, content: bytes) -> Block | None:
        """Read a block of whole lines; None where one of them must be looked at by itself.

        The last line may lack its end.
        """
        if len(content) > MAX_LINE or any(mark in content for mark in _ODD):
            return None
        crlf = b"\r" in content
        if crlf:
            ends = content.count(b"\r\n")
            if not content.count(b"\r") == content.count(b"\n") == ends or content[-1:] != b"\n":
                return None
            content = content.replace(b"\r\n", b"\n")
        elif content[-1:] != b"\n":
            content += b"\n"
        if not _is_text(content):
            return None
        separator = self.separator.encode()
        if len(separator) == 2:  # pandas takes one
            if b"\t" in content or content.count(separator[:1]) != 2 * content.count(separator):
                return None
            content, separator = content.replace(separator, b"\t"), b"\t"
        if not _even(content, separator, self.fields):
            return None
        try:
            return self._read(content, separator.decode(), crlf)
        except LineFault:
            return None

    def _read(self, content: bytes, separator: str, crlf: bool) -> Block | None:
        user, item, rating, time = self.places
        texts = dict.fromkeys((user, item, rating), object)
        frame = times = None
        if self.time is None:
            frame = _frame(content, separator, self.fields, {**texts, time: np.int64})
        if frame is not None:
            times = frame[time].to_numpy()
            if b"-" in content and not times.all():  # -0 is another number than 0
                frame = None
        if frame is None:
            frame = _frame(content, separator, self.fields, {**texts, time: object})
            if frame is None:
                return None
            times = _numbers(frame[time], self.time or _number)
        assert times is not None
        users, items = _coded(frame[user]), _coded(frame[item])
        if not (all_sound(users.texts) and all_sound(items.texts)):
            return None
        ratings = _numbers(frame[rating], self.rating)
        return Block(users, items, ratings, times.astype(np.float64) / self.per_second, crlf)


def _number(text: str) -> float:
    return finite(text, "time")


def _is_text(content: bytes) -> bool:
    try:
        return content.isascii() or bool(content.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _even(content: bytes, separator: bytes, fields: int) -> bool:
    """Tell whether each line has so many fields, two or more."""
    codes = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    marks = np.flatnonzero(codes == ord(separator))
    if len(marks) != (fields - 1) * len(ends):
        return False
    by_line = marks.reshape(len(ends), fields - 1)
    return bool((by_line[:, -1] < ends).all() and (by_line[1:, 0] > ends[:-1]).all())


def _frame(content: bytes, separator: str, fields: int, types: Mapping[int, type]) -> Any:
    """Return a ``pandas.DataFrame``; None where a cell is not of its column's type."""
    import pandas as pd

    try:
        return pd.read_csv(
            io.BytesIO(content),
            sep=separator,
            header=None,
            names=range(fields),
            usecols=list(types),
            dtype=dict(types),
            index_col=False,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
            encoding="utf-8",
            engine="c",
            low_memory=False,
        )
    except (ValueError, OverflowError):
        return None


def _coded(column: Any) -> Coded:
    import pandas as pd

    places, texts = pd.factorize(column.to_numpy(dtype=object))
    return Coded(places, texts.tolist())


def _numbers(column: Any, number: Callable[[str], float]) -> np.ndarray:
    places, texts = _coded(column)
    return np.array([number(text) for text in texts], dtype=np.float64)[places]

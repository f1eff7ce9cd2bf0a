"""Reading atomic files fast, with the values that RecBole's own way gives.

RecBole reads them by pandas' Python engine.  The C engine gives the same on a plain file, and is
much faster; what it would read otherwise is looked for first, and told.
"""

from __future__ import annotations

import codecs
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.categories import read_categories

__all__ = ["NotPlain", "read_plain"]

_CHUNK = 32 << 20
_WHITE = (b" ", b"\t", b"\n", b"\v", b"\f")
_EXACT = 2.0**53  # beyond it the engines round whole numbers differently


class NotPlain(Exception):
    """The file, or what is asked of it, is not for the fast reader; the message says why."""


def read_plain(
    path: Path,
    separator: str,
    columns: Sequence[str],
    types: Mapping[str, Any],
    encoding: str | None,
) -> Any:
    """Return some columns of a file as a ``pandas.DataFrame``.

    Args:
        path: of the file, whose first line names its columns.
        separator: between two cells.
        columns: those to read; they come in the order of the file.
        types: of each column, ``str``, ``"category"`` (of the same text) or ``numpy.float64``.
        encoding: of the file; None stands for UTF-8.

    Raises:
        NotPlain: another separator than one character, another encoding than UTF-8, quotes, rows
            that are ragged or begin with white space, or cells that are not of their type.
    """
    if len(separator) != 1 or not separator.isascii() or separator in ' "\r\n\0':
        raise NotPlain(f"its separator is {separator!r}")
    if codecs.lookup(encoding or "utf-8").name not in ("utf-8", "utf-8-sig"):
        raise NotPlain(f"its encoding is {encoding}")
    header = _check(path, separator)
    coded = [column for column in columns if types[column] == "category"]
    try:
        found = read_categories(path, separator, coded) if coded else {}
        others = {column: types[column] for column in columns if column not in found}
        frame: Any = _read_numbers_and_texts(path, separator, others) if others else None
    except (ValueError, OverflowError) as error:  # pandas' ParserError is one, and Arrow's
        raise NotPlain(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
    if found:
        import pandas as pd

        rest = {} if frame is None else {column: frame[column] for column in frame}
        order = [column for column in header if column in columns]
        frame = pd.DataFrame({name: found.get(name, rest.get(name)) for name in order}, copy=False)
    assert frame is not None  # there is a column, so one reader or both have read
    for column in columns:
        if types[column] is np.float64 and bool((frame[column].abs() >= _EXACT).any()):
            raise NotPlain(f"column {column} holds numbers above 2^53")
    return frame


def _read_numbers_and_texts(path: Path, separator: str, types: Mapping[str, Any]) -> Any:
    import pandas as pd

    return pd.read_csv(
        path,
        sep=separator,
        usecols=list(types),
        dtype=dict(types),
        encoding="utf-8",
        engine="c",
        low_memory=False,
    )


def _check(path: Path, separator: str) -> list[str]:
    """Refuse what the two engines may read differently; return the names of the columns."""
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if content[:3] == codecs.BOM_UTF8:
            raise NotPlain("it begins with a byte order mark")
        for what, name in ((b'"', "quotes"), (b"\r", "carriage returns"), (b"\0", "NUL bytes")):
            if content.find(what) >= 0:
                raise NotPlain(f"it has {name}")
        mark = separator.encode()
        header = content[: max(content.find(b"\n"), 0)]
        names = header.split(mark)
        if len(set(names)) < len(names):
            raise NotPlain("it names a column twice")
        _check_rows(content, ord(mark), len(names) - 1)
    return [name.decode() for name in names]


def _check_rows(content: mmap.mmap, mark: int, expected: int) -> None:
    """Refuse rows without as many separators as are expected, or with white space before them."""
    ragged = NotPlain("a row has more or fewer cells than the header")
    white = np.zeros(256, bool)
    white[list(b"".join(_WHITE))] = True
    white[mark] = False
    begin, size = 0, len(content)
    while begin < size:
        end = min(begin + _CHUNK, size)
        if end < size:
            end = content.rfind(b"\n", begin, end) + 1
            if not end:
                raise ragged  # a row longer than a chunk is none of a table
        bytes_ = np.frombuffer(content[begin:end], np.uint8)
        ends = np.flatnonzero(bytes_ == ord("\n"))
        if not len(ends) or ends[-1] != len(bytes_) - 1:
            ends = np.append(ends, len(bytes_))
        starts = np.concatenate([[0], ends[:-1] + 1])
        if white[bytes_[starts]].any():
            raise NotPlain("a row is empty or begins with white space")
        marks = np.flatnonzero(bytes_ == mark)
        if len(marks) != expected * len(ends):
            raise ragged
        if expected:
            of_rows = marks.reshape(-1, expected)
            if (of_rows[:, 0] < starts).any() or (of_rows[:, -1] > ends).any():
                raise ragged
        begin = end

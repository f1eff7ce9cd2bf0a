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
        types: of each column, ``str`` or ``numpy.float64``.
        encoding: of the file; None stands for UTF-8.

    Raises:
        NotPlain: another separator than one character, another encoding than UTF-8, quotes, rows
            that are ragged or begin with white space, or cells that are not of their type.
    """
    import pandas as pd

    if len(separator) != 1 or not separator.isascii() or separator in ' "\r\n\0':
        raise NotPlain(f"its separator is {separator!r}")
    if codecs.lookup(encoding or "utf-8").name not in ("utf-8", "utf-8-sig"):
        raise NotPlain(f"its encoding is {encoding}")
    _check(path, separator)
    try:
        frame = pd.read_csv(
            path,
            sep=separator,
            usecols=list(columns),
            dtype=dict(types),
            encoding="utf-8",
            engine="c",
            low_memory=False,
        )
    except (ValueError, OverflowError) as error:  # pandas' ParserError is one
        raise NotPlain(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
    for column in columns:
        if types[column] is not str and bool((frame[column].abs() >= _EXACT).any()):
            raise NotPlain(f"column {column} holds numbers above 2^53")
    return frame


def _check(path: Path, separator: str) -> None:
    """Refuse what the two engines may read differently."""
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
        for white in _WHITE:
            if white != mark and content.find(b"\n" + white) >= 0:
                raise NotPlain("a row is empty or begins with white space")
        header = content[: max(content.find(b"\n"), 0)]
        names = header.split(mark)
        if len(set(names)) < len(names):
            raise NotPlain("it names a column twice")
        if not _even(content, ord(mark), len(names) - 1):
            raise NotPlain("a row has more or fewer cells than the header")


def _even(content: mmap.mmap, mark: int, expected: int) -> bool:
    """Tell whether each row has as many separators as are expected."""
    begin, size = 0, len(content)
    while begin < size:
        end = min(begin + _CHUNK, size)
        if end < size:
            end = content.rfind(b"\n", begin, end) + 1
            if not end:
                return False  # a row longer than a chunk is none of a table
        bytes_ = np.frombuffer(content[begin:end], np.uint8)
        rows = np.flatnonzero(bytes_ == ord("\n"))
        if not len(rows) or rows[-1] != len(bytes_) - 1:
            rows = np.append(rows, len(bytes_))
        marks = np.searchsorted(np.flatnonzero(bytes_ == mark), rows)
        if (np.diff(marks, prepend=0) != expected).any():
            return False
        begin = end
    return True

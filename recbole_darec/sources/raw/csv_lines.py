"""Raw files with a header and commas, line by line."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from recbole_darec.errors import DataError
from recbole_darec.sources.raw.lines import LineFault, Record, read_lines, text_of

__all__ = ["CsvLines", "finite"]


class CsvLines:
    """Reads the lines of a CSV file whose first line names its columns.

    Args:
        path: the file.
        columns: the wanted columns, in the order in which they are given back.

    Attributes:
        fields: how many a line has.
        places: of the wanted columns.

    Raises:
        DataError: the file lacks one of them.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._header = header = header_of(path)
        lacking = [name for name in columns if name not in header]
        if lacking:
            raise DataError(
                f"{path} has no column {', '.join(lacking)}: it begins with "
                f"{','.join(header)[:80]!r}"
            )
        self.fields = len(header)
        self.places = [header.index(name) for name in columns]

    def __call__(self, line: Record) -> list[str] | None:
        """Return the wanted cells of a line, None for the header.

        Raises:
            LineFault: the line is not UTF-8, or has fewer or more fields than the header.
        """
        cells = _cells(line)
        if len(cells) != len(self._header):
            raise LineFault(
                f"{'fewer' if len(cells) < len(self._header) else 'more'} fields than the header"
            )
        if cells == self._header:
            return None
        return [cells[place] for place in self.places]


def header_of(path: Path) -> list[str]:
    """Return the names in the first line of a file."""
    for line in read_lines(path):
        try:
            return [name.strip() for name in _cells(line)]
        except LineFault:
            break
    return []


def _cells(line: Record) -> list[str]:
    text = text_of(line)
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise LineFault("a quote without its end") from None


def finite(text: str, name: str) -> float:
    """Read a number.

    Raises:
        LineFault: it is none, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        raise LineFault(f"'{name}' is no number") from None
    if not math.isfinite(value):
        raise LineFault(f"'{name}' is not finite")
    return value

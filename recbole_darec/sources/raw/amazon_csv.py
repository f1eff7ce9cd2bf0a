"""Amazon's ratings of 2023 without reviews: ``user_id,parent_asin,rating,timestamp`` and a header.

So come the 0-core and the 5-core of the release (``rating_only``), and the parts of its splits
(``Books.train.csv`` beside ``.valid`` and ``.test``, with or without a column ``history``), which
are put together here: ``prepare`` makes its own k-core and split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.raw.columns import Columns
from recbole_darec.sources.raw.csv_lines import CsvLines, finite
from recbole_darec.sources.raw.lines import Record
from recbole_darec.sources.raw.source import Row

__all__ = ["RATING_COLUMNS", "RatingParser", "is_csv"]

RATING_COLUMNS = ("user_id", "parent_asin", "rating", "timestamp")
_PER_SECOND = 1000


def is_csv(path: Path) -> bool:
    """Tell a file of ratings by its name."""
    return path.name.lower().removesuffix(".gz").endswith(".csv")


class RatingParser:
    """Reads a line of ratings; times are milliseconds.

    Attributes:
        columns: the same for many lines.
    """

    def __init__(self, path: Path) -> None:
        self._cells = cells = CsvLines(path, RATING_COLUMNS)
        self.columns = Columns(",", cells.fields, cells.places, per_second=_PER_SECOND)

    def __call__(self, line: Record) -> Sequence[Row]:
        """Return the one interaction of a line, none for the header.

        Raises:
            LineFault: the line is no such record.
        """
        cells = self._cells(line)
        if cells is None:
            return ()
        user, item, rating, time = cells
        return (
            Row(user, item, finite(rating, "rating"), finite(time, "timestamp") / _PER_SECOND, ""),
        )

"""MovieLens 20M, 25M, 32M and latest: ``ratings.csv`` and ``movies.csv``, with quoted titles.

Left out: ``tags.csv`` and the tag genome, which are made of what users wrote about all movies,
those of the validation and test parts among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.raw.columns import Columns
from recbole_darec.sources.raw.csv_lines import CsvLines, finite
from recbole_darec.sources.raw.lines import Record
from recbole_darec.sources.raw.source import Row, Source, Table
from recbole_darec.sources.raw.texts import clean, title_and_year

__all__ = ["open_movielens_csv"]

COLUMNS = ("title:token_seq", "year:token", "categories:token_seq")
_NO_GENRES = "(no genres listed)"


def open_movielens_csv(ratings: Path, movies: Path | None) -> Source:
    """Open ``ratings.csv`` and, where it is there, ``movies.csv``.

    Raises:
        DataError: a file lacks a column of the release.
    """
    tables = [] if movies is None else [Table("item", movies, COLUMNS, _MovieParser(movies))]
    parse = _RatingParser(ratings)
    return Source(
        name="movielens",
        interactions=ratings,
        parse=parse,
        rated=True,
        timed=True,
        reviewed=False,
        clean=clean,
        tables=tables,
        lacking=[] if movies else ["item"],
        columns=Columns(",", parse.cells.fields, parse.cells.places),
    )


class _RatingParser:
    """Reads a line of ``ratings.csv``: ``userId,movieId,rating,timestamp``."""

    def __init__(self, path: Path) -> None:
        self.cells = CsvLines(path, ("userId", "movieId", "rating", "timestamp"))

    def __call__(self, line: Record) -> Sequence[Row]:
        cells = self.cells(line)
        if cells is None:
            return ()
        user, movie, rating, time = cells
        return (Row(user, movie, finite(rating, "rating"), finite(time, "timestamp"), ""),)


class _MovieParser:
    """Reads a line of ``movies.csv``: ``movieId,title,genres``, with ``"Net, The (1995)"``."""

    def __init__(self, path: Path) -> None:
        self._cells = CsvLines(path, ("movieId", "title", "genres"))

    def __call__(self, line: Record) -> tuple[str, Sequence[str]] | None:
        cells = self._cells(line)
        if cells is None:
            return None
        movie, name, genres = cells
        title, year = title_and_year(clean(name))
        told = [one for one in genres.split("|") if one and one != _NO_GENRES]
        return movie, [title, year, clean(", ".join(told))]

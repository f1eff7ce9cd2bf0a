"""MovieLens 1M (``ratings.dat``, ``movies.dat``, ``users.dat``) and 100K (``u.data``, …).

The releases with commas are in :mod:`.movielens_csv`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from recbole_darec.errors import DataError
from recbole_darec.sources.raw.columns import Columns
from recbole_darec.sources.raw.lines import LineFault, Record, read_lines
from recbole_darec.sources.raw.movielens_csv import open_movielens_csv
from recbole_darec.sources.raw.source import Row, Source, Table, file_named, files_below, not_found
from recbole_darec.sources.raw.texts import clean, title_and_year, year_of

__all__ = ["open_movielens"]

MOVIE_COLUMNS = ("title:token_seq", "year:token", "categories:token_seq")
USER_COLUMNS = ("age:token", "gender:token", "occupation:token_seq", "zip_code:token")

# The codes of the README of ml-1m.
_AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56 or older",
}
_GENDERS = {"M": "male", "F": "female"}
_OCCUPATIONS = (
    "other",
    "academic or educator",
    "artist",
    "clerical or administrative",
    "college or graduate student",
    "customer service",
    "doctor or health care",
    "executive or managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales or marketing",
    "scientist",
    "self-employed",
    "technician or engineer",
    "tradesman or craftsman",
    "unemployed",
    "writer",
)
# The order of the flags in u.item, where u.genre is not there to say it.
_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)


def open_movielens(raw: Path) -> Source:
    """Find the ratings of a release, with the files of movies and users beside.

    Raises:
        DataError: there are none, or those of several releases.
    """
    files = files_below(raw)
    ratings = file_named(files, ["ratings.dat", "u.data", "ratings.csv"])
    if ratings is None:
        what = "neither ratings.csv (20M, 25M, 32M, latest) nor ratings.dat (1M) nor u.data (100K)"
        raise not_found(raw, what, files)
    beside = [path for path in files if path.parent == ratings.parent]
    if ratings.name.lower().removesuffix(".gz") == "ratings.csv":
        return open_movielens_csv(ratings, file_named(beside, ["movies.csv"]))
    large = ratings.name.lower().startswith("ratings")
    movies = file_named(beside, ["movies.dat" if large else "u.item"])
    users = file_named(beside, ["users.dat" if large else "u.user"])
    tables = []
    if movies:
        genres = _GENRES if large else _genres(file_named(beside, ["u.genre"]))
        parse_movie = _parse_movie_1m if large else _MovieParser(genres)
        tables.append(Table("item", movies, MOVIE_COLUMNS, parse_movie))
    if users:
        tables.append(
            Table("user", users, USER_COLUMNS, _parse_user_1m if large else _parse_user_100k)
        )
    return Source(
        name="movielens",
        interactions=ratings,
        parse=_parse_rating_1m if large else _parse_rating_100k,
        rated=True,
        timed=True,
        reviewed=False,
        clean=clean,
        tables=tables,
        lacking=[kind for kind, path in (("item", movies), ("user", users)) if not path],
        columns=Columns("::" if large else "\t", fields=4, places=(0, 1, 2, 3)),
    )


def _text(line: Record) -> str:
    if isinstance(line, dict):
        raise LineFault("a row of a table")
    # As released the files are Latin-1; copies that someone turned into UTF-8 are about.
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _split(line: Record, separator: str, least: int) -> list[str]:
    cells = _text(line).split(separator)
    if len(cells) < least:
        raise LineFault(f"fewer than {least} fields")
    return cells


def _rating(cells: list[str]) -> Sequence[Row]:
    try:
        rating, time = float(cells[2]), float(cells[3])
    except ValueError:
        raise LineFault("rating or time is no number") from None
    if not (math.isfinite(rating) and math.isfinite(time)):
        raise LineFault("rating or time is not finite")
    return (Row(cells[0], cells[1], rating, time, ""),)


def _parse_rating_1m(line: Record) -> Sequence[Row]:
    return _rating(_split(line, "::", 4))


def _parse_rating_100k(line: Record) -> Sequence[Row]:
    return _rating(_split(line, "\t", 4))


def _parse_movie_1m(line: Record) -> tuple[str, Sequence[str]]:
    cells = _split(line, "::", 3)
    # a title may hold the separator, ids and genres never do
    title, year = title_and_year(clean("::".join(cells[1:-1])))
    return cells[0], [title, year, clean(cells[-1].replace("|", ", "))]


class _MovieParser:
    """Reads a line of ``u.item``: id, title, date, video date, address, one flag a genre."""

    def __init__(self, genres: Sequence[str]) -> None:
        self.genres = genres

    def __call__(self, line: Record) -> tuple[str, Sequence[str]]:
        cells = _split(line, "|", 5 + len(self.genres))
        flags = cells[-len(self.genres) :]
        if not set(flags) <= {"0", "1"}:
            raise LineFault("a genre's flag is neither 0 nor 1")
        title, year = title_and_year(clean(cells[1]))
        genres = ", ".join(genre for genre, flag in zip(self.genres, flags) if flag == "1")
        return cells[0], [title, year or year_of(cells[2]), genres]


def _genres(path: Path | None) -> Sequence[str]:
    """Read ``u.genre`` (``Action|1``, in the order of the numbers)."""
    if path is None:
        return _GENRES
    found: dict[int, str] = {}
    for line in read_lines(path):
        name, _, place = _text(line).strip().rpartition("|")
        if name and place.isdecimal():
            found[int(place)] = name
    if sorted(found) != list(range(len(found))) or not found:
        raise DataError(f"{path} does not number its genres 0, 1, …; mend or remove it")
    return [found[place] for place in range(len(found))]


def _parse_user_1m(line: Record) -> tuple[str, Sequence[str]]:
    user, gender, age, occupation, *rest = _split(line, "::", 4)
    place = int(occupation) if occupation.isdecimal() and len(occupation) < 4 else -1
    known = 0 <= place < len(_OCCUPATIONS)
    cells = [
        _AGES.get(age, age),
        _GENDERS.get(gender, gender),
        _OCCUPATIONS[place] if known else occupation,
        rest[0] if rest else "",
    ]
    return user, [clean(cell) for cell in cells]


def _parse_user_100k(line: Record) -> tuple[str, Sequence[str]]:
    user, age, gender, occupation, *rest = _split(line, "|", 4)
    cells = [age, _GENDERS.get(gender, gender), occupation, rest[0] if rest else ""]
    return user, [clean(cell) for cell in cells]

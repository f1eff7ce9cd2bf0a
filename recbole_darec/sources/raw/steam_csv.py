"""Steam's recommendations of today, as CSV, and its games.

The files are ``recommendations.csv``, ``games.csv`` and ``games_metadata.json``.

A recommendation is a thumb up or down, with a day and no text. Those down are no interactions; of
several of one pair the latest counts. ``games_metadata.json`` has the descriptions and tags.

Left out: ``rating``, ``positive_ratio`` and ``user_reviews`` of the games and the numbers of
``users.csv``, which are made of all recommendations, and the hours played.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.raw.columns import Columns
from recbole_darec.sources.raw.csv_lines import CsvLines
from recbole_darec.sources.raw.lines import LineFault, Record
from recbole_darec.sources.raw.records import parse_record, text_of, token
from recbole_darec.sources.raw.source import Beside, Row, Source, Table, seconds
from recbole_darec.sources.raw.texts import clean, year_of

__all__ = ["open_steam_csv"]

COLUMNS = (
    "title:token_seq",
    "description:token_seq",
    "categories:token_seq",
    "year:token",
    "price:token_seq",
)
_THUMBS = {"true": 1.0, "false": 0.0}


def open_steam_csv(reviews: Path, games: Path | None, metadata: Path | None) -> Source:
    """Open the recommendations and, where they are, the files of games.

    Raises:
        DataError: a file lacks a column of the release.
    """
    tables = []
    if games:
        beside = [Beside(metadata, [1, 2], _parse_metadata)] if metadata else []
        tables.append(Table("item", games, COLUMNS, _GameParser(games), beside=beside))
    parse = _ReviewParser(reviews)
    return Source(
        name="steam",
        interactions=reviews,
        parse=parse,
        rated=False,
        timed=True,
        reviewed=False,
        clean=clean,
        tables=tables,
        lacking=[] if games else ["item"],
        least=1.0,
        columns=Columns(",", parse.cells.fields, parse.cells.places, rating=_thumb, time=_day),
    )


def _thumb(text: str) -> float:
    thumb = _THUMBS.get(text.lower())
    if thumb is None:
        raise LineFault("'is_recommended' is neither true nor false")
    return thumb


def _day(text: str) -> float:
    return seconds(text, "date")


class _ReviewParser:
    def __init__(self, path: Path) -> None:
        self.cells = CsvLines(path, ("user_id", "app_id", "is_recommended", "date"))

    def __call__(self, line: Record) -> Sequence[Row]:
        cells = self.cells(line)
        if cells is None:
            return ()
        user, game, recommended, day = cells
        return (Row(user, game, _thumb(recommended), _day(day), ""),)


class _GameParser:
    def __init__(self, path: Path) -> None:
        self._cells = CsvLines(path, ("app_id", "title", "date_release", "price_final"))

    def __call__(self, line: Record) -> tuple[str, Sequence[str]] | None:
        cells = self._cells(line)
        if cells is None:
            return None
        game, title, released, price = cells
        return game, [clean(title), "", "", year_of(released), clean(price)]


def _parse_metadata(line: Record) -> tuple[str, Sequence[str]]:
    record = parse_record(line)
    texts = (text_of(record.get("description")), text_of(record.get("tags"), ", "))
    return token(record, "app_id"), [clean(text) for text in texts]

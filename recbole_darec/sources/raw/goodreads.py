"""Goodreads, as the UCSD Book Graph: JSON lines of interactions or reviews, and of books.

Interactions: ``goodreads_interactions_*.json`` with ``user_id, book_id, rating, date_added``, or
``goodreads_reviews_*.json``, which has ``review_text``, too. A rating of 0 stands for none: the
book was put on a shelf. The time is that of ``date_added``. Books: ``goodreads_books_*.json``
with the ids of the authors, whose names are in ``goodreads_book_authors.json``, and the genres in
``goodreads_book_genres_initial.json``.

Left out: ``average_rating``, ``ratings_count``, ``text_reviews_count``, ``popular_shelves`` and
``similar_books``, which are made of all users, those of the validation and test parts among them.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.raw.dates import mail_seconds
from recbole_darec.sources.raw.json_columns import JsonForm, json_columns
from recbole_darec.sources.raw.lines import LineFault, Record
from recbole_darec.sources.raw.records import number, parse_record, text_of, token
from recbole_darec.sources.raw.shards import matching, only
from recbole_darec.sources.raw.source import (
    Beside,
    Row,
    Source,
    Table,
    existing,
    file_named,
    files_below,
    not_found,
    seconds,
)
from recbole_darec.sources.raw.texts import clean, year_of

__all__ = ["open_goodreads"]

COLUMNS = (
    "title:token_seq",
    "description:token_seq",
    "categories:token_seq",
    "author:token_seq",
    "year:token",
    "publisher:token_seq",
)
_MONTHS = {name: place for place, name in enumerate(calendar.month_abbr) if name}


def open_goodreads(raw: Path, reviews: str | None = None, metadata: str | None = None) -> Source:
    """Find the interactions or reviews and, where they are, the books.

    Args:
        raw: the folder.
        reviews, metadata: the files themselves, where the folder has several or other names.

    Raises:
        DataError: there are no interactions, or several files of a kind.
    """
    files = files_below(raw) if raw.is_dir() or not (reviews and metadata) else []
    found = existing(reviews) if reviews else None
    if found is None:
        # Reviews are a part of the interactions: where both are there, the user says which.
        found = only(
            matching(files, r"goodreads_(interactions|reviews)\w*\.json(\.gz)?"), "reviews"
        )
    if found is None:
        what = "neither goodreads_interactions_….json nor goodreads_reviews_….json (also .gz)"
        raise not_found(raw, f"{what}: name the file with --reviews", files)
    books = existing(metadata) if metadata else None
    if books is None:
        books = only(matching(files, r"goodreads_books\w*\.json(\.gz)?"), "metadata")
    beside = []
    authors = file_named(files, ["goodreads_book_authors.json"])
    if authors:
        beside.append(Beside(authors, [3], parse_author, by_id=False))
    genres = file_named(files, ["goodreads_book_genres_initial.json"])
    if genres:
        beside.append(Beside(genres, [2], parse_genres))
    parse = parse_book if authors else _without_authors
    return Source(
        name="goodreads",
        interactions=found,
        parse=parse_interaction,
        rated=True,
        timed=True,
        reviewed=True,
        clean=clean,
        tables=[Table("item", books, COLUMNS, parse, beside=beside)] if books else [],
        lacking=[] if books else ["item"],
        columns=json_columns(_form()),
    )


def _form() -> JsonForm:
    """Return the keys; not of the file of spoilers, whose sentences no type of a column has."""
    return JsonForm(
        "user_id",
        "book_id",
        "rating",
        "date_added",
        ("review_text", "review_text_incomplete"),
        absent=("review_sentences",),
        date=_time,
        dates=lambda cells: mail_seconds(cells, _MONTHS),
    )


def parse_interaction(line: Record) -> Sequence[Row]:
    """Read one interaction, with its review where there is one.

    Raises:
        LineFault: the line is no such record.
    """
    record = parse_record(line)
    text = record.get("review_text") or record.get("review_text_incomplete")
    if "review_sentences" in record:  # of the file of spoilers: [[0, "A sentence."], …]
        time = seconds(record.get("timestamp"), "timestamp")
        found = record["review_sentences"]
        pairs = found if isinstance(found, list) else []
        text = " ".join(str(one[-1]) for one in pairs if isinstance(one, list) and one)
    else:
        time = _time(record.get("date_added"))
    return (
        Row(
            token(record, "user_id"),
            token(record, "book_id"),
            number(record, "rating"),
            time,
            text if isinstance(text, str) else "",
        ),
    )


def _time(text: object) -> float:
    """Read ``Wed Mar 22 11:37:04 -0700 2017`` as seconds since 1970."""
    if not isinstance(text, str) or not text:
        raise LineFault("no 'date_added'")
    try:
        _, month, day, clock, zone, year = text.split()
        hours, minutes, second = map(int, clock.split(":"))
        sign = {"+": 1, "-": -1}[zone[0]]
        shift = sign * (60 * int(zone[1:3]) + int(zone[3:5]))
        moment = (int(year), _MONTHS[month], int(day), hours, minutes, second)
        return float(calendar.timegm((*moment, 0, 1, 0)) - 60 * shift)
    except (ValueError, KeyError, IndexError, OverflowError):
        raise LineFault("'date_added' is no date") from None


def parse_book(line: Record) -> tuple[str, Sequence[str]]:
    """Read one book: its id, and its texts in the order of :data:`COLUMNS`, the authors as ids.

    Raises:
        LineFault: the line is no record with an id.
    """
    record = parse_record(line)
    authors = record.get("authors")
    ids = [one.get("author_id") for one in authors or [] if isinstance(one, dict)]
    texts = (
        text_of(record.get("title")),
        text_of(record.get("description")),
        "",
        " ".join(str(one) for one in ids if one),
        year_of(text_of(record.get("publication_year"))),
        text_of(record.get("publisher")),
    )
    return token(record, "book_id"), [clean(text) for text in texts]


def _without_authors(line: Record) -> tuple[str, Sequence[str]]:
    book, texts = parse_book(line)
    return book, [*texts[:3], "", *texts[4:]]


def parse_author(line: Record) -> tuple[str, Sequence[str]]:
    """Read one author: the id and the name."""
    record = parse_record(line)
    return token(record, "author_id"), [clean(text_of(record.get("name")))]


def parse_genres(line: Record) -> tuple[str, Sequence[str]]:
    """Read the genres of one book, without the numbers of users who named them."""
    record = parse_record(line)
    genres = record.get("genres")
    names = (
        [part.strip() for name in genres for part in str(name).split(",")]
        if isinstance(genres, dict)
        else []
    )
    return token(record, "book_id"), [clean(", ".join(dict.fromkeys(filter(None, names))))]

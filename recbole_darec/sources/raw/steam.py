"""Steam's reviews and games (McAuley's releases), whose lines are Python literals, or JSON.

Reviews: ``steam_reviews.json`` with ``username, product_id, text, date``, one review a line; or
``australian_user_reviews.json``, one user a line with a list of reviews.  Games:
``steam_games.json``.  There are no ratings.

The recommendations as CSV are in :mod:`.steam_csv`.

Left out: ``sentiment`` and ``metascore``, which are made of all reviews, and the hours played.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.raw.dates import iso_seconds
from recbole_darec.sources.raw.json_columns import JsonForm, json_columns
from recbole_darec.sources.raw.lines import LineFault, Record
from recbole_darec.sources.raw.records import parse_record, text_of, token
from recbole_darec.sources.raw.source import (
    Row,
    Source,
    Table,
    existing,
    file_named,
    files_below,
    not_found,
    seconds,
)
from recbole_darec.sources.raw.steam_csv import open_steam_csv
from recbole_darec.sources.raw.texts import clean, year_of

__all__ = ["open_steam"]

_REVIEWS = ("steam_reviews.json", "steam_new.json", "reviews.json")
_BY_USER = ("australian_user_reviews.json",)
_RECOMMENDATIONS = "recommendations.csv"
_GAMES = ("steam_games.json", "games.json")
_FORM = JsonForm(
    "username", "product_id", None, "date", ("text",),
    date=lambda text: seconds(text, "date"), dates=iso_seconds,
)  # fmt: skip

COLUMNS = (
    "title:token_seq",
    "categories:token_seq",
    "developer:token_seq",
    "publisher:token_seq",
    "year:token",
    "price:token_seq",
    "features:token_seq",
)


def open_steam(raw: Path, reviews: str | None = None, metadata: str | None = None) -> Source:
    """Find the reviews and, where there is, the file of games.

    Args:
        raw: the folder.
        reviews, metadata: the files themselves, where they have other names.

    Raises:
        DataError: there are no reviews, or several files of a kind.
    """
    files = files_below(raw) if raw.is_dir() or not (reviews and metadata) else []
    names = (*_REVIEWS, *_BY_USER, _RECOMMENDATIONS)
    review_file = existing(reviews) if reviews else file_named(files, names, "--reviews")
    if review_file is None:
        what = "neither steam_reviews.json nor australian_user_reviews.json nor recommendations.csv"
        raise not_found(raw, f"{what} (also .gz): name the file with --reviews", files)
    if review_file.name.lower().removesuffix(".gz").endswith(".csv"):
        found = existing(metadata) if metadata else file_named(files, ["games.csv"], "--metadata")
        return open_steam_csv(review_file, found, file_named(files, ["games_metadata.json"]))
    games = existing(metadata) if metadata else file_named(files, _GAMES, "--metadata")
    by_user = review_file.name.lower().startswith("australian")
    return Source(
        name="steam",
        interactions=review_file,
        parse=parse_user if by_user else parse_review,
        rated=False,
        timed=not by_user,
        reviewed=True,
        clean=clean,
        tables=[Table("item", games, COLUMNS, parse_game)] if games else [],
        lacking=[] if games else ["item"],
        columns=None if by_user else json_columns(_FORM),
    )


def parse_review(line: Record) -> Sequence[Row]:
    """Read one review; the user is ``username``, the only name that all lines have.

    Raises:
        LineFault: the line is no such record.
    """
    record = parse_record(line)
    text = record.get("text")
    return (
        Row(
            token(record, "username"),
            token(record, "product_id"),
            0.0,
            seconds(record.get("date"), "date"),
            text if isinstance(text, str) else "",
        ),
    )


def parse_user(line: Record) -> Sequence[Row]:
    """Read one user with all reviews; their dates often lack the year and are left out.

    Raises:
        LineFault: the line is no such record.
    """
    record = parse_record(line)
    user, reviews = token(record, "user_id"), record.get("reviews")
    if not isinstance(reviews, list):
        raise LineFault("no list 'reviews'")
    rows = []
    for review in reviews:
        if not isinstance(review, dict):
            raise LineFault("'reviews' holds what is no review")
        text = review.get("review")
        rows.append(
            Row(user, token(review, "item_id"), 0.0, 0.0, text if isinstance(text, str) else "")
        )
    return rows


def parse_game(line: Record) -> tuple[str, Sequence[str]]:
    """Read one game: its id, and its texts in the order of :data:`COLUMNS`.

    Raises:
        LineFault: the line is no record with an id.
    """
    record = parse_record(line)
    texts = (
        text_of(record.get("title")) or text_of(record.get("app_name")),
        text_of([record.get("genres"), record.get("tags")], ", "),
        text_of(record.get("developer")),
        text_of(record.get("publisher")),
        year_of(text_of(record.get("release_date"))),
        text_of(record.get("price")),
        text_of(record.get("specs"), ", "),
    )
    return token(record, "id"), [clean(text) for text in texts]

"""Yelp's open data set: ``review.json``, ``business.json``, ``user.json``, one object a line.

Left out: ``stars`` and ``review_count`` of businesses and ``average_stars``, ``review_count``,
``useful``, … of users, which are made of all reviews, those of the validation and test parts among
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recbole_darec.sources.raw.dates import iso_seconds
from recbole_darec.sources.raw.json_columns import JsonForm, json_columns
from recbole_darec.sources.raw.lines import LineFault, Record
from recbole_darec.sources.raw.records import number, parse_record, text_of, token
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
from recbole_darec.sources.raw.texts import clean, year_of

__all__ = ["open_yelp"]

BUSINESS_COLUMNS = (
    "title:token_seq",
    "categories:token_seq",
    "city:token_seq",
    "state:token",
    "attributes:token_seq",
)
USER_COLUMNS = ("name:token_seq", "member_since:token")
_FORM = JsonForm(
    "user_id", "business_id", "stars", "date", ("text",),
    date=lambda text: seconds(text, "date"), dates=iso_seconds,
)  # fmt: skip


def open_yelp(
    raw: Path, reviews: str | None = None, metadata: str | None = None, users: str | None = None
) -> Source:
    """Find the reviews and, where they are, the businesses and the users.

    Args:
        raw: the folder with ``yelp_academic_dataset_review.json`` or ``review.json``, and so on.
        reviews, metadata, users: the files themselves, where they have other names.

    Raises:
        DataError: there are no reviews, or several files of a kind.
    """
    files = [] if reviews and metadata and users else files_below(raw)

    def find(name: str, given: str | None, option: str) -> Path | None:
        if given:
            return existing(given)
        return file_named(files, [f"yelp_academic_dataset_{name}.json", f"{name}.json"], option)

    review_file = find("review", reviews, "--reviews")
    if review_file is None:
        what = "neither yelp_academic_dataset_review.json nor review.json"
        raise not_found(raw, f"{what}: name the file with --reviews", files)
    businesses, people = find("business", metadata, "--metadata"), find("user", users, "--users")
    tables = []
    if businesses:
        tables.append(Table("item", businesses, BUSINESS_COLUMNS, parse_business))
    if people:
        tables.append(Table("user", people, USER_COLUMNS, parse_user))
    return Source(
        name="yelp",
        interactions=review_file,
        parse=parse_review,
        rated=True,
        timed=True,
        reviewed=True,
        clean=clean,
        tables=tables,
        lacking=[kind for kind, path in (("item", businesses), ("user", people)) if not path],
        columns=json_columns(_FORM),
    )


def parse_review(line: Record) -> Sequence[Row]:
    """Read one review.

    Raises:
        LineFault: the line is no such record.
    """
    record = parse_record(line)
    text = record.get("text")
    return (
        Row(
            token(record, "user_id"),
            token(record, "business_id"),
            number(record, "stars"),
            seconds(record.get("date"), "date"),
            text if isinstance(text, str) else "",
        ),
    )


def parse_business(line: Record) -> tuple[str, Sequence[str]]:
    """Read one business: its id, and its texts in the order of :data:`BUSINESS_COLUMNS`.

    Raises:
        LineFault: the line is no record with an id.
    """
    record = parse_record(line)
    texts = (
        text_of(record.get("name")),
        text_of(record.get("categories"), ", "),  # a text; a list in old editions
        text_of(record.get("city")),
        text_of(record.get("state")),
        ", ".join(_told(record.get("attributes"))),
    )
    return token(record, "business_id"), [clean(text) for text in texts]


def _told(attributes: Any) -> Iterator[str]:
    """Tell what a business has: ``{"WiFi": "u'free'", "BikeParking": "True"}``.

    The values are Python literals within JSON, dictionaries among them.
    """
    if not isinstance(attributes, dict):
        return
    for name, value in attributes.items():
        if isinstance(value, str) and value.startswith("{"):
            try:
                value = parse_record(value.encode("utf-8", "replace"))
            except LineFault:
                continue
        if isinstance(value, dict):
            having = [key for key, has in value.items() if has is True or has == "True"]
            if having:
                yield f"{name}: {' '.join(having)}"
            continue
        text = text_of(value)
        text = text[2:-1] if text.startswith("u'") else text.strip("'")
        if text == "True":
            yield str(name)
        elif text not in ("", "False", "None", "none", "no"):
            yield f"{name}: {text}"


def parse_user(line: Record) -> tuple[str, Sequence[str]]:
    """Read one user: the id, the first name, and the year since when.

    Raises:
        LineFault: the line is no record with an id.
    """
    record = parse_record(line)
    since = year_of(text_of(record.get("yelping_since")))
    return token(record, "user_id"), [clean(text_of(record.get("name"))), since]

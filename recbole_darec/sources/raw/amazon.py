"""Amazon's reviews and metadata, as released in 2014, 2018 and 2023, as JSON lines or Parquet.

Reviews: ``reviewerID, asin, overall, reviewText, summary, unixReviewTime`` (2014, 2018), or
``user_id, parent_asin, asin, rating, title, text, timestamp`` in milliseconds (2023). Metadata:
``asin`` or ``parent_asin``, ``title``, ``description`` (a text or a list), ``category``,
``categories``, ``brand`` or ``store``, ``price``; in 2014 as Python literals. The files of 2023
with ratings alone (``user_id,parent_asin,rating,timestamp``) are in :mod:`.amazon_csv`. A file in
pieces (``full-00000-of-00007.parquet``) is read as one.

Left out: ``average_rating``, ``rating_number`` and ``salesRank``, which are made of all reviews,
those of the validation and test parts among them; ``related`` and ``also_buy`` for the same
reason.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_darec.sources.raw.amazon_csv import RATING_COLUMNS, RatingParser, is_csv
from recbole_darec.sources.raw.csv_lines import header_of
from recbole_darec.sources.raw.files import read_file
from recbole_darec.sources.raw.json_columns import JsonForm, json_columns
from recbole_darec.sources.raw.lines import LineFault, Record
from recbole_darec.sources.raw.records import number, parse_record, text_of, token
from recbole_darec.sources.raw.shards import only_group
from recbole_darec.sources.raw.source import (
    Row,
    Source,
    Table,
    existing,
    files_below,
    not_found,
)
from recbole_darec.sources.raw.table_columns import TableColumns
from recbole_darec.sources.raw.texts import plain

__all__ = ["open_amazon"]

_ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet", ".csv", ".csv.gz")
_SNIFFED = 20  # lines read to see what a file holds

# What is read of a Parquet file; the rest, the pictures above all, would take most of the time.
REVIEW_FIELDS = (
    "user_id", "parent_asin", "asin", "rating", "timestamp", "text", "title",
    "reviewerID", "overall", "unixReviewTime", "reviewText", "summary",
)  # fmt: skip
METADATA_FIELDS = (
    "parent_asin", "asin", "title", "description", "category", "categories", "author", "brand",
    "store", "price", "features", "feature",
)  # fmt: skip

_OF_2018 = JsonForm("reviewerID", "asin", "overall", "unixReviewTime", ("reviewText", "summary"))
_OF_2023 = JsonForm(
    "user_id", "parent_asin", "rating", "timestamp", ("text", "title"), ("reviewerID",),
    per_second=1000,
)  # fmt: skip
_OF_VARIANTS = dataclasses.replace(_OF_2023, item="asin", absent=("reviewerID", "parent_asin"))
_FORMS = (_OF_2018, _OF_VARIANTS, _OF_2023)

COLUMNS = (
    "title:token_seq",
    "description:token_seq",
    "categories:token_seq",
    "brand:token_seq",
    "price:token_seq",
    "features:token_seq",
)


def open_amazon(raw: Path, reviews: str | None = None, metadata: str | None = None) -> Source:
    """Find the reviews and, where there is, the metadata.

    Args:
        raw: the folder; files are recognised by what their first lines hold.
        reviews, metadata: the files themselves, where the folder has several.

    Raises:
        DataError: there are no reviews, or several files of a kind.
    """
    found: dict[str, list[Path]] = {"reviews": [], "metadata": []}
    files = [] if reviews and metadata else files_below(raw)
    for path in files:
        if path.name.lower().endswith(_ENDINGS):
            kind = _kind(path)
            if kind:
                found[kind].append(path)
    review_files = [existing(reviews)] if reviews else only_group(found["reviews"], "reviews")
    if not review_files:
        raise not_found(
            raw,
            "no Amazon reviews (reviewerID, asin and overall, or user_id, parent_asin and rating, "
            "as .json, .jsonl, .csv, also .gz, or .parquet): name the file with --reviews",
            files,
        )
    items = [existing(metadata)] if metadata else only_group(found["metadata"], "metadata")
    tables = []
    if items:
        tables.append(
            Table("item", items[0], COLUMNS, parse_metadata, items[1:], fields=METADATA_FIELDS)
        )
    ratings = RatingParser(review_files[0]) if is_csv(review_files[0]) else None
    return Source(
        name="amazon",
        interactions=review_files[0],
        more=review_files[1:],
        fields=REVIEW_FIELDS,
        parse=ratings or parse_review,
        rated=True,
        timed=True,
        reviewed=ratings is None,
        clean=plain,
        tables=tables,
        lacking=[] if items else ["item"],
        columns=ratings.columns if ratings else json_columns(*_FORMS),
        table_columns=None if ratings else TableColumns(_FORMS),
    )


def _kind(path: Path) -> str:
    """Tell ``"reviews"`` from ``"metadata"`` by the first lines; ``""`` for anything else."""
    if is_csv(path):
        return "reviews" if set(RATING_COLUMNS) <= set(header_of(path)) else ""
    for line in itertools.islice(read_file(path), _SNIFFED):
        try:
            keys = parse_record(line).keys()
        except LineFault:
            continue
        if keys & {"overall", "rating"} and keys & {"reviewerID", "user_id"}:
            return "reviews"
        if keys & {"asin", "parent_asin"}:
            return "metadata"
    return ""


def parse_review(line: Record) -> Sequence[Row]:
    """Read one review; its text is ``reviewText``, or the summary where that is empty.

    Raises:
        LineFault: the line is no such record.
    """
    record = parse_record(line)
    if "reviewerID" in record:
        user, item = token(record, "reviewerID"), token(record, "asin")
        rating, time = number(record, "overall"), number(record, "unixReviewTime")
        text = record.get("reviewText") or record.get("summary")
    else:
        user = token(record, "user_id")
        item = token(record, "parent_asin" if "parent_asin" in record else "asin")
        rating, time = number(record, "rating"), number(record, "timestamp") / 1000
        text = record.get("text") or record.get("title")
    return (Row(user, item, rating, time, text if isinstance(text, str) else ""),)


def parse_metadata(line: Record) -> tuple[str, Sequence[str]]:
    """Read one item: its id, and its texts in the order of :data:`COLUMNS`.

    Raises:
        LineFault: the line is no record with an id.
    """
    record = parse_record(line)
    item = token(record, "parent_asin" if "parent_asin" in record else "asin")
    texts = (
        record.get("title"),
        record.get("description"),
        text_of(record.get("category") or record.get("categories"), ", "),
        _brand(record),
        _price(record.get("price")),
        record.get("features") or record.get("feature"),
    )
    return item, [plain(text_of(text)) for text in texts]


def _brand(record: dict[str, Any]) -> str:
    """Who made the item: of books of 2023 the author, whose name is in a dictionary.

    In Parquet files that dictionary is a text, and ``None`` is one, too.
    """
    author = _unless_none(record.get("author"))
    if isinstance(author, str) and author.startswith("{"):
        try:
            author = parse_record(author.encode("utf-8", "replace"))
        except LineFault:
            author = None
    if isinstance(author, dict):
        author = author.get("name")
    return text_of(author) or text_of(record.get("brand")) or text_of(record.get("store"))


def _unless_none(value: Any) -> Any:
    return None if value in ("None", "null", "nan") else value


def _price(value: Any) -> str:
    text = text_of(_unless_none(value))
    # The release of 2018 has pieces of the page's style sheet here.
    return text if len(text) <= 40 and "{" not in text else ""

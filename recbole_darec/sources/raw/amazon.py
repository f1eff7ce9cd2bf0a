"""Amazon's reviews and metadata, as released in 2014, 2018 and 2023.

Reviews: ``reviewerID, asin, overall, reviewText, summary, unixReviewTime`` (2014, 2018), or
``user_id, parent_asin, asin, rating, title, text, timestamp`` in milliseconds (2023).  Metadata:
``asin`` or ``parent_asin``, ``title``, ``description`` (a text or a list), ``category``,
``categories``, ``brand`` or ``store``, ``price``; in 2014 as Python literals.

Left out: ``average_rating``, ``rating_number`` and ``salesRank``, which are made of all reviews,
those of the validation and test parts among them; ``related`` and ``also_buy`` for the same reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_darec.errors import DataError, some
from recbole_darec.sources.raw.lines import LineFault, read_lines
from recbole_darec.sources.raw.records import number, parse_record, text_of, token
from recbole_darec.sources.raw.source import Row, Source, Table, existing, files_below
from recbole_darec.sources.raw.texts import plain

__all__ = ["open_amazon"]

_ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_SNIFFED = 20  # lines read to see what a file holds

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
    if reviews is None or metadata is None:
        for path in files_below(raw):
            if path.name.lower().endswith(_ENDINGS):
                kind = _kind(path)
                if kind:
                    found[kind].append(path)
    review_file = existing(reviews) if reviews else _only(found["reviews"], "reviews")
    if review_file is None:
        raise DataError(
            f"{raw} has no Amazon reviews (JSON lines with reviewerID, asin and overall, or "
            "user_id, parent_asin and rating; .json or .json.gz): name the file with --reviews"
        )
    metadata_file = existing(metadata) if metadata else _only(found["metadata"], "metadata")
    return Source(
        name="amazon",
        interactions=review_file,
        parse=parse_review,
        rated=True,
        timed=True,
        reviewed=True,
        clean=plain,
        tables=[Table("item", metadata_file, COLUMNS, parse_metadata)] if metadata_file else [],
        lacking=[] if metadata_file else ["item"],
    )


def _only(paths: Sequence[Path], kind: str) -> Path | None:
    if len(paths) > 1:
        raise DataError(
            f"there are several files with {kind} ({some(paths)}): name one with --{kind}"
        )
    return paths[0] if paths else None


def _kind(path: Path) -> str:
    """Tell ``"reviews"`` from ``"metadata"`` by the first lines; ``""`` for anything else."""
    for line in itertools.islice(read_lines(path), _SNIFFED):
        try:
            keys = parse_record(line).keys()
        except LineFault:
            continue
        if keys & {"overall", "rating"} and keys & {"reviewerID", "user_id"}:
            return "reviews"
        if keys & {"asin", "parent_asin"}:
            return "metadata"
    return ""


def parse_review(line: bytes) -> Sequence[Row]:
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


def parse_metadata(line: bytes) -> tuple[str, Sequence[str]]:
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
    """Who made the item: of books of 2023 the author, whose name is in a dictionary."""
    author = record.get("author")
    if isinstance(author, dict):
        author = author.get("name")
    return text_of(author) or text_of(record.get("brand")) or text_of(record.get("store"))


def _price(value: Any) -> str:
    text = text_of(value)
    # The release of 2018 has pieces of the page's style sheet here.
    return text if len(text) <= 40 and "{" not in text else ""

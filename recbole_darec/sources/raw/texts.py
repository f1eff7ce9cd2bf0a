"""Texts of the raw files, made fit for one line of a table."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

from recbole_darec.data.atomic import token_fault

__all__ = [
    "MAX_CELL",
    "cell",
    "clean",
    "clean_json",
    "places_of",
    "plain",
    "table_writer",
    "title_and_year",
    "year_of",
]

MAX_CELL = 100_000
"""Characters of one cell: the csv reader below RecBole's refuses more than 131,072."""

_TAG = re.compile(r"<(?:[a-zA-Z/!][^<>]*)>")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TITLE_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>[0-9]{4})(?:[-–](?:[0-9]{4})?)?\)")
# What each byte of a text may ask for: 1, to be cleaned; 2, a backslash before it in JSON.
_ASKS = bytes(
    2 if chr(code) in '"\\' else int(not 0x20 <= code < 0x7F or chr(code) in "<&")
    for code in range(256)
)
_YEAR = re.compile(r"(?<![0-9])(?:1[89]|20)[0-9]{2}(?![0-9])")


def clean(text: str) -> str:
    """Put a text on one line: white space becomes one blank, control characters go.

    Pairs of surrogates that stand apart are joined, and a half of one becomes a blank.
    """
    if text.isprintable() and "  " not in text:  # most texts: the blank is all their white space
        return text.strip(" ")
    text = " ".join(text.split())
    if text.isprintable():
        return text
    if re.search("[\ud800-\udfff]", text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = text.replace("�", " ")
    return " ".join(_NOT_TEXT.sub(" ", text).split())


def plain(text: str) -> str:
    """Return a text of a web page without its tags, and its ``&amp;`` and the like as characters.

    A ``<`` that opens no tag stays: ``I <3 this``.
    """
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    return clean(text)


def clean_json(texts: Sequence[str], clean: Callable[[str], str]) -> list[str]:
    """Clean many texts, and write each as JSON does, without the quotes around it.

    Args:
        texts: as they stand in the raw file.
        clean: :func:`clean` or :func:`plain`; it is asked only for texts that it can change.
    """
    if not texts:
        return []
    joined = "".join([text + "\n" for text in texts])
    ends = np.cumsum([len(text) + 1 for text in texts]) - 1
    begins = np.concatenate(([0], ends[:-1] + 1))
    ascii_bytes = joined.encode("ascii", "replace")  # one byte for each character
    codes = np.frombuffer(ascii_bytes, dtype=np.uint8)
    asks = np.frombuffer(ascii_bytes.translate(_ASKS), dtype=np.uint8).copy()
    asks[ends] = 0
    asks[places_of(ascii_bytes, b"  ")] |= 1
    asks[begins] |= codes[begins] == ord(" ")
    asks[ends] |= codes[ends - 1] == ord(" ")
    found = list(texts)
    asked = np.bitwise_or.reduceat(asks, begins)
    if not joined.isascii():
        asked[[not text.isascii() for text in texts]] |= 1
    for place in np.flatnonzero(asked).tolist():
        text = found[place]
        if asked[place] & 1:
            text = clean(text)
        # nothing else is left that JSON escapes
        found[place] = text.replace("\\", "\\\\").replace('"', '\\"')
    return found


def places_of(content: bytes, pair: bytes) -> np.ndarray:
    """Return where two bytes stand one behind the other, int64, in no order."""
    # Twice as a column of numbers of two bytes each, which takes a fifth of a search.
    code, found = int.from_bytes(pair, "little"), []
    for begin in range(2):
        count = max(len(content) - begin, 0) // 2
        if count:
            numbers = np.frombuffer(content, dtype="<u2", count=count, offset=begin)
            found.append(2 * np.flatnonzero(numbers == code) + begin)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def cell(text: str) -> str:
    """Return a clean text as RecBole's reader gives it back.

    A text such as "NA", which the reader takes for a missing value, gets a blank behind it, and one
    longer than :data:`MAX_CELL` is cut.
    """
    text = text[:MAX_CELL]
    return text + " " if text and token_fault(text) else text


def title_and_year(text: str) -> tuple[str, str]:
    """Split ``"Toy Story (1995)"`` into title and year; the year is ``""`` where there is none.

    Of the years of a series, ``"Fawlty Towers (1975-1979)"``, the first counts.
    """
    match = _TITLE_YEAR.fullmatch(text)
    return (match["title"], match["year"]) if match else (text, "")


def year_of(text: str) -> str:
    """Return the first year from 1800 to 2099 in a date such as ``"Oct 27, 2017"``, or ``""``."""
    match = _YEAR.search(text)
    return match[0] if match else ""


def table_writer(file: IO[str]) -> Any:
    """Return a ``csv.writer`` of the dialect that RecBole's reader (pandas' default) reads."""
    return csv.writer(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL, lineterminator="\n")

"""Texts of the raw files, made fit for one line of a table."""

from __future__ import annotations

import csv
import html
import re
from typing import IO, Any

from recbole_darec.data.atomic import token_fault

__all__ = ["MAX_CELL", "cell", "clean", "plain", "table_writer", "title_and_year", "year_of"]

MAX_CELL = 100_000
"""Characters of one cell: the csv reader below RecBole's refuses more than 131,072."""

_TAG = re.compile(r"<(?:[a-zA-Z/!][^<>]*)>")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TITLE_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>[0-9]{4})(?:[-–](?:[0-9]{4})?)?\)")
_YEAR = re.compile(r"(?<![0-9])(?:1[89]|20)[0-9]{2}(?![0-9])")


def clean(text: str) -> str:
    """Put a text on one line: white space becomes one blank, control characters go.

    Pairs of surrogates that stand apart are joined, and a half of one becomes a blank.
    """
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

"""MIND: ``behaviors.tsv`` and ``news.tsv``, of one part of the release or of several.

A line of ``behaviors.tsv`` is one impression: its number, the user, the time, the news that the
user clicked before (the history), and the news that were shown, ``N12-1`` for a click and
``N12-0`` for none. Interactions are the clicks, at the time of their impression, and the history,
once for each user and history. Clicks of the history have no time: they get the first day of the
collection, 2019-10-12, and their place in seconds, so that they keep their order and come before
every click that has one. What was shown and not clicked is no interaction.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.raw.lines import LineFault, Record, text_of
from recbole_darec.sources.raw.mind_columns import BehaviourColumns
from recbole_darec.sources.raw.source import Row, Source, Table, files_below, not_found
from recbole_darec.sources.raw.texts import clean

__all__ = ["open_mind"]

COLUMNS = ("title:token_seq", "description:token_seq", "categories:token_seq")
_BEGIN = float(calendar.timegm((2019, 10, 12, 0, 0, 0, 0, 1, 0)))
_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2}):(\d{2})(?: ([AP])M)?")


def open_mind(raw: Path) -> Source:
    """Find the files of behaviours and news, of all the parts that are below the folder.

    Raises:
        DataError: there are no behaviours.
    """
    files = files_below(raw)

    def named(name: str) -> list[Path]:
        return [path for path in files if path.name.lower().removesuffix(".gz") == name]

    behaviours, news = named("behaviors.tsv"), named("news.tsv")
    if not behaviours:
        raise not_found(raw, "no behaviors.tsv", files)
    parse = BehaviourParser()
    tables = [Table("item", news[0], COLUMNS, parse_news, more=news[1:])] if news else []
    return Source(
        name="mind",
        interactions=behaviours[0],
        more=behaviours[1:],
        parse=parse,
        columns=BehaviourColumns(parse.is_first, _BEGIN),
        rated=False,
        timed=True,
        reviewed=False,
        clean=clean,
        tables=tables,
        lacking=[] if news else ["item"],
    )


class BehaviourParser:
    """Reads a line of ``behaviors.tsv``.

    A user's history stands in each of the user's lines.  It is given with the first line that has
    it: which one that was is remembered by its hash, so that a second pass gives the same.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def __call__(self, line: Record) -> Sequence[Row]:
        """Return the clicks of a line and, if it is the first that has it, the history.

        Raises:
            LineFault: the line is no such record.
        """
        cells = _cells(line, 5)
        user, history = cells[1], cells[3].split()
        if not user:
            raise LineFault("no user")
        time = _seconds(cells[2])
        rows = []
        if history and self.is_first(user, cells[3], line):
            rows = [Row(user, item, 0.0, _BEGIN + n, "") for n, item in enumerate(history)]
        for shown in cells[4].split():
            item, dash, clicked = shown.rpartition("-")
            if dash and clicked == "1":
                rows.append(Row(user, item, 0.0, time, ""))
            elif dash and clicked != "0":  # without a dash: the test part, which tells no clicks
                raise LineFault("an impression that is neither -0 nor -1")
        return rows

    def is_first(self, user: str, history: str, line: Record) -> bool:
        """Tell whether a line is the first with a user's history, which is remembered."""
        return self._first.setdefault(hash((user, history)), hash(line)) == hash(line)


def _cells(line: Record, least: int) -> list[str]:
    cells = text_of(line).split("\t")
    if len(cells) < least:
        raise LineFault(f"fewer than {least} fields")
    return cells


def _seconds(text: str) -> float:
    """Read ``11/15/2019 8:55:22 AM`` as seconds since 1970, taken as UTC."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise LineFault("the time is no date")
    month, day, year, hour, minute, second = map(int, match.groups()[:6])
    half = match[7]
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and (half is None or 1 <= hour <= 12)):
        raise LineFault("the time is no date")
    if half is not None:
        hour = hour % 12 + (12 if half == "P" else 0)
    return float(calendar.timegm((year, month, day, hour, minute, second, 0, 1, 0)))


def parse_news(line: Record) -> tuple[str, Sequence[str]]:
    """Read one piece of news: its id, title, abstract, and category with sub-category.

    Raises:
        LineFault: the line has too few fields.
    """
    cells = _cells(line, 5)
    if not cells[0]:
        raise LineFault("no id")
    kinds = ", ".join(dict.fromkeys(filter(None, cells[1:3])))
    return cells[0], [clean(cells[3]), clean(cells[4]), clean(kinds)]

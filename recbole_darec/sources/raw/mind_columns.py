"""Many lines of MIND's ``behaviors.tsv`` at once: each has any number of interactions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recbole_darec.data.atomic import all_sound
from recbole_darec.sources.raw.columns import Block, Coded, field_bounds, whole_lines
from recbole_darec.sources.raw.dates import us_seconds
from recbole_darec.sources.raw.lines import MAX_ROWS

__all__ = ["BehaviourColumns"]

_FIELDS = 5
_USER, _TIME, _HISTORY, _SHOWN = 1, 2, 3, 4
_PACKED = 8  # bytes of an id that is compared as one number


class BehaviourColumns:
    """Reads lines of plain ASCII without quotes, with five fields and blanks between news.

    Args:
        is_first: tells of a user's history, and of the line that it stands in, whether that is the
            first line with it.
        begin: time of a history's first click in seconds; each further one is a second later.
    """

    def __init__(self, is_first: Callable[[str, str, bytes], bool], begin: float) -> None:
        self._is_first, self._begin = is_first, begin

    def read(self, content: bytes, reviews: bool = False) -> Block | None:
        """Read a block of whole lines, as :class:`.columns.BlockReader` says."""
        lines = whole_lines(content)
        if lines is None or not lines.isascii() or b'"' in lines:
            return None
        codes = np.frombuffer(lines, dtype=np.uint8)
        bounds = field_bounds(codes, ord("\t"), _FIELDS)
        if bounds is None or len(lines.translate(None, _OTHER_SPACES)) < len(lines):
            return None
        words = _Words(codes)
        if not _one_each(words.line[words.field == _USER], len(bounds)):
            return None
        times = us_seconds(codes, bounds[:, _TIME] + 1, bounds[:, _TIME + 1])
        clicked = _clicked(codes, words)
        if times is None or clicked is None:
            return None
        text = lines.decode("ascii")
        before = words.field == _HISTORY
        with_history = np.flatnonzero(np.bincount(words.line[before], minlength=len(bounds)))
        first = np.zeros(len(bounds), dtype=bool)
        first[with_history] = [
            self._is_first(*_history_of(text, lines, of_line))
            for of_line in bounds[with_history].tolist()
        ]
        before &= first[words.line]
        # A line's history stands before what it shows, and so do the words.
        taken = np.flatnonzero(before | clicked)
        line = words.line[taken]
        counts = np.bincount(line, minlength=len(bounds))
        if (counts > MAX_ROWS).any():
            return None
        of_history = before[taken]
        items = _texts(codes, words.begin[taken], words.end[taken] - 2 * ~of_history)
        users = _texts(codes, bounds[:, _USER] + 1, bounds[:, _USER + 1])
        if not (all_sound(items.texts) and all_sound(users.texts)):
            return None
        place = np.arange(len(taken)) - (np.cumsum(counts) - counts)[line]
        return Block(
            Coded(users.places[line], users.texts),
            items,
            np.zeros(len(taken)),
            np.where(of_history, self._begin + place, times[line]),
            b"\r" in content,
            per_line=counts,
        )


_OTHER_SPACES = bytes({*range(ord(" "))} - {*b"\t\n"})
"""What is below a blank, but for tabs and line ends: some of it separates words, too."""


class _Words:
    """What stands between blanks, tabs and line ends, with at least one character.

    Attributes:
        begin, end: its place, int64 ``[n]``.
        line, field: where it stands, from 0 on.
    """

    def __init__(self, codes: np.ndarray) -> None:
        ends = np.flatnonzero(codes <= ord(" "))
        begins = np.concatenate(([0], ends[:-1] + 1))
        closes = codes[ends] != ord(" ")  # a field
        some = ends > begins
        number = (np.cumsum(closes) - closes)[some]
        self.begin, self.end = begins[some], ends[some]
        self.line, self.field = number // _FIELDS, number % _FIELDS


def _one_each(lines: np.ndarray, n: int) -> bool:
    return len(lines) == n and bool((lines == np.arange(n)).all())


def _clicked(codes: np.ndarray, words: _Words) -> np.ndarray | None:
    """Return which words are clicks, bool ``[n]``; None where one is no impression.

    News without a dash, as the test part has them, tell no click.
    """
    shown = words.field == _SHOWN
    mark = codes[words.end - 1]
    marked = shown & (words.end - words.begin > 2) & (codes[words.end - 2] == ord("-"))
    marked &= (mark == ord("0")) | (mark == ord("1"))
    others = np.flatnonzero(shown & ~marked)
    if len(others):
        dashes = np.flatnonzero(codes == ord("-"))
        places = np.stack([words.begin[others], words.end[others]])
        before, behind = np.searchsorted(dashes, places)
        if (before < behind).any():
            return None
    return marked & (mark == ord("1"))


def _history_of(text: str, lines: bytes, bounds: list[int]) -> tuple[str, str, bytes]:
    """Return a line's user, its history, and the line."""
    user = text[bounds[_USER] + 1 : bounds[_USER + 1]]
    history = text[bounds[_HISTORY] + 1 : bounds[_HISTORY + 1]]
    return user, history, lines[bounds[0] + 1 : bounds[-1]]


def _texts(codes: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> Coded:
    """Return pieces of the codes as a column."""
    import pandas as pd

    sizes = ends - begins
    width = max(int(sizes.max(initial=0)), _PACKED)
    cells = np.zeros((len(sizes), width), dtype=np.uint8)
    for place in range(width):
        inside = np.flatnonzero(sizes > place)
        cells[inside, place] = codes[begins[inside] + place]
    whole = cells.view(np.uint64 if width == _PACKED else f"S{width}")[:, 0]
    if width == _PACKED:
        places, distinct = pd.factorize(whole)
    else:
        distinct, places = np.unique(whole, return_inverse=True)
    texts = distinct.view(f"S{width}").astype(str).tolist()
    return Coded(places.astype(np.int64), texts)

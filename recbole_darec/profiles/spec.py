"""What the columns of a data set's tables mean, and how one is rendered as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_darec.profiles.words import first_words, plural

__all__ = ["Column", "ProfileSpec", "cell"]


@dataclass(frozen=True)
class Column:
    """How one column of a user or item table is rendered as text.

    Attributes:
        name: the column's name, without RecBole's ``:type`` suffix.
        phrase: a format with one ``{}`` for the value, e.g. ``"occupation {}"``.
        values: words for the values that do not speak for themselves, e.g. ``{"M": "male"}``;
            a value mapped to ``""`` is left out.
        bins: for a numeric column, the rising lower bounds of its groups; ``(18, 25)`` makes 17
            ``"under 18"``, 20 ``"18-24"`` and 25 ``"25 or older"``.  A value that is no
            number is kept as it is if it has a digit, as a group's name, and left out otherwise.
        words: how many words of a long value are shown; 0 for all.
    """

    name: str
    phrase: str = "{}"
    values: Mapping[str, str] = field(default_factory=dict)
    bins: tuple[int, ...] = ()
    words: int = 0

    def render(self, row: Mapping[str, Any], unknown: frozenset[str]) -> str:
        """Return the phrase for ``row``, or ``""`` where the cell says nothing."""
        value = cell(row, self.name, unknown)
        value = self.values.get(value, value)
        if value and self.bins:
            value = _group(value, self.bins)
        if self.words:
            value = first_words(value, self.words)
        return self.phrase.format(value) if value else ""


@dataclass(frozen=True)
class ProfileSpec:
    """What the columns of a data set mean, and how much of a user's history is shown.

    Every column may be ``None`` (the data set has none); a cell that is empty or in ``unknown``
    is left out of the text.

    Attributes:
        item_noun: what an item is called, e.g. ``"movie"``.
        user_noun: what a user is called, e.g. ``"viewer"``.
        item_nouns: the plural of ``item_noun``, where :func:`.words.plural` does not know it.
        title: item column with its name.
        year: item column with a year in digits.
        categories: item column with categories separated by ``separator``.
        category_noun: their name in the plural, e.g. ``"genres"``.
        separator: what separates two categories; ``None`` for white space.
        item_columns: further item columns, each rendered as ``phrase``.
        user_columns: user columns, each rendered as ``phrase``.
        unknown: cells (in lower case) that stand for "not known".
        liked_from: the rating from which on an item counts as liked.
        max_categories: how many categories a user's text names.
        max_decades: how many decades a user's text names.
        max_titles: how many titles a user's text names.
    """

    item_noun: str = "item"
    user_noun: str = "user"
    title: str | None = None
    year: str | None = None
    categories: str | None = None
    category_noun: str = "categories"
    separator: str | None = None
    item_columns: tuple[Column, ...] = ()
    user_columns: tuple[Column, ...] = ()
    unknown: frozenset[str] = frozenset({"unknown"})
    liked_from: float = 4.0
    max_categories: int = 4
    max_decades: int = 2
    max_titles: int = 6
    item_nouns: str | None = None

    @property
    def plural_noun(self) -> str:
        """What several items are called."""
        return self.item_nouns or plural(self.item_noun)


def cell(row: Mapping[str, Any], column: str | None, unknown: frozenset[str]) -> str:
    """Return a cell as clean text, ``""`` where it is absent, missing or stands for unknown."""
    value = row.get(column) if column is not None else None
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""  # the second is what csv readers give for an empty cell
    text = " ".join(str(value).split())
    return "" if text.lower() in unknown else text


def _group(value: str, bins: Sequence[int]) -> str:
    """Return the name of the group of ``bins`` that a number falls into.

    A group's own name, as ``25-34``, stays as it is; what has no digit says nothing.
    """
    try:
        number = float(value)
    except ValueError:
        return value if any(letter.isdigit() for letter in value) else ""
    if not np.isfinite(number):
        return ""
    n = sum(number >= bound for bound in bins)
    if n == 0:
        return f"under {bins[0]}"
    if n == len(bins):
        return f"{bins[-1]} or older"
    return f"{bins[n - 1]}-{bins[n] - 1}"

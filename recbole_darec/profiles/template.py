"""Profiles from a template: texts out of table columns and training interactions.

No language model is asked.  An item is told by its own columns; a user by their own columns and
by what their *training* interactions say.  A validation or test interaction never has any
influence on a text: :mod:`recbole_darec.profiles.inputs` hands none on.

The same input gives the same bytes: no randomness, no dates, no dependence on the order of the
interactions.  What the columns of a data set mean is told by a :class:`ProfileSpec`, which
:meth:`recbole_darec.profiles.domains.Domain.spec` makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_darec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Column",
    "ProfileSpec",
    "article_first",
    "first_words",
    "item_profile",
    "tell_rows",
    "user_profile",
]

_USER, _ITEM, _RATING, _TIME = "user_id", "item_id", "rating", "timestamp"

# The articles that catalogues put behind the title.  A list, since "Paris, Texas" must stay.
_ARTICLE_LAST = re.compile(
    r"^(?P<title>.+), (?P<article>The|A|An|Il|La|Le|Les|L'|El|Los|Las|Der|Die|Das)"
    r"(?P<rest> \(.*)?$"
)


@dataclass(frozen=True)
class Column:
    """How one column of a user or item table is told in a text.

    Attributes:
        name: the column's name, without RecBole's ``:type`` suffix.
        phrase: a format with one ``{}`` for the value, e.g. ``"occupation {}"``.
        values: words for the values that do not speak for themselves, e.g. ``{"M": "male"}``;
            a value mapped to ``""`` is left out.
        bins: for a numeric column, the rising lower bounds of its groups; ``(18, 25)`` tells 17 as
            ``"under 18"``, 20 as ``"18-24"`` and 25 as ``"25 or older"``.  A value that is no
            number is told as it is if it has a digit, as a group's name, and left out otherwise.
        words: how many words of a long value are told; 0 for all.
    """

    name: str
    phrase: str = "{}"
    values: Mapping[str, str] = field(default_factory=dict)
    bins: tuple[int, ...] = ()
    words: int = 0

    def tell(self, row: Mapping[str, Any], unknown: frozenset[str]) -> str:
        """Return the phrase for ``row``, or ``""`` where there is nothing to tell."""
        value = _cell(row, self.name, unknown)
        value = self.values.get(value, value)
        if value and self.bins:
            value = _group(value, self.bins)
        if self.words:
            value = first_words(value, self.words)
        return self.phrase.format(value) if value else ""


@dataclass(frozen=True)
class ProfileSpec:
    """What the columns of a data set mean, and how much of a user's history is told.

    Every column may be ``None`` (the data set has none); a cell that is empty or in ``unknown``
    is left out of the text.

    Attributes:
        item_noun: what an item is called, e.g. ``"movie"``.
        user_noun: what a user is called, e.g. ``"viewer"``.
        title: item column with its name.
        year: item column with a year in digits.
        categories: item column with categories separated by ``separator``.
        category_noun: their name in the plural, e.g. ``"genres"``.
        separator: what separates two categories; ``None`` for white space.
        item_columns: further item columns, each told as ``phrase``.
        user_columns: user columns, each told as ``phrase``.
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


def article_first(title: str) -> str:
    """Return ``"Usual Suspects, The"`` as ``"The Usual Suspects"``; other titles as they are."""
    match = _ARTICLE_LAST.match(title)
    if match is None:
        return title
    article = match["article"]
    gap = "" if article.endswith("'") else " "
    return f"{article}{gap}{match['title']}{match['rest'] or ''}"


def first_words(text: str, limit: int) -> str:
    """Return the first ``limit`` words, with an ellipsis where there were more."""
    words = text.split()
    return text if len(words) <= limit else " ".join(words[:limit]) + " …"


def item_profile(row: Mapping[str, Any], spec: ProfileSpec) -> str:
    """Tell an item by its own columns.

    Args:
        row: column name to cell; columns that ``spec`` does not name are ignored.
        spec: what the columns mean.

    Returns:
        e.g. ``"Toy Story (1995). A movie of the genres Animation, Children's, Comedy."``; never
        empty: an item of which nothing is known is ``"A movie."``.
    """
    name = _name(row, spec)
    categories = _categories(row, spec)
    what = f"{_article(spec.item_noun)} {spec.item_noun}"
    if categories:
        what += f" of the {spec.category_noun} {', '.join(categories)}"
    told = [column.tell(row, spec.unknown) for column in spec.item_columns]
    return _sentences([name, what, *told])


def user_profile(
    row: Mapping[str, Any],
    train_items: Sequence[str],
    ratings: Sequence[float] | None,
    item_table: Mapping[str, Mapping[str, Any]],
    spec: ProfileSpec,
) -> str:
    """Tell a user by their own columns and their training interactions.

    Liked items are those rated ``spec.liked_from`` or higher; of a user who rated nothing so high,
    those with the user's own highest rating; without ratings, all.  Categories and decades are
    told with their share of the liked items, most frequent first, ties by name.  Titles are those
    of the best-rated items; between equal ratings the earlier in ``train_items`` comes first.

    Args:
        row: column name to cell of the user table.
        train_items: item tokens of the user's training interactions, and of no other.
        ratings: one per entry of ``train_items``, or ``None`` where the data has none.
        item_table: item token to row of the item table; an item may be absent from it.
        spec: what the columns mean.

    Returns:
        One line of text; never empty.

    Raises:
        DataError: the two sequences differ in length, or a rating is not finite.
    """
    if ratings is not None and len(ratings) != len(train_items):
        raise DataError(
            f"a user has {len(train_items)} training items but {len(ratings)} ratings: "
            "give one rating per item, or none at all"
        )
    scores = [0.0] * len(train_items) if ratings is None else [float(r) for r in ratings]
    if not all(np.isfinite(scores)):
        raise DataError("a training interaction has a rating that is not a finite number")

    told = [column.tell(row, spec.unknown) for column in spec.user_columns]
    sentences = [", ".join([f"{_article(spec.user_noun)} {spec.user_noun}", *filter(None, told)])]

    if scores:
        bar = min(spec.liked_from, max(scores))
        liked = [item_table.get(i, {}) for i, s in zip(train_items, scores) if s >= bar]
        shares = _shares([_categories(item, spec) for item in liked], spec.max_categories)
        if shares:
            sentences.append(f"Likes the {spec.category_noun} {shares}")
        shares = _shares([_decade(item, spec) for item in liked], spec.max_decades)
        if shares:
            sentences.append(f"Likes {spec.item_noun}s from the {shares}")
        best = sorted(range(len(scores)), key=lambda n: -scores[n])  # stable: ties keep their order
        names = (_name(item_table.get(train_items[n], {}), spec) for n in best)
        titles = list(dict.fromkeys(filter(None, names)))[: spec.max_titles]
        if titles:
            sentences.append(f"Favourite {spec.item_noun}s: {'; '.join(titles)}")
    return _sentences(sentences)


def tell_rows(
    items: Mapping[str, Mapping[str, Any]],
    users: Mapping[str, Mapping[str, Any]],
    train: pd.DataFrame,
    spec: ProfileSpec,
) -> tuple[dict[str, str], dict[str, str]]:
    """Make the texts of users and items whose rows are known already.

    Args:
        items, users: id to row, in the order of the texts; a row may be empty.
        train: training interactions and no other: ``user_id``, ``item_id`` and, where the data has
            them, ``rating`` and ``timestamp``.  A pair that occurs twice counts once: the latest.
        spec: what the columns mean.

    Returns:
        ``(user texts, item texts)``, each from id to text.

    Raises:
        DataError: a rating or time is not a number.
    """
    history = _histories(train)
    user_texts = {
        token: user_profile(row, *history.get(token, ([], None)), items, spec)
        for token, row in users.items()
    }
    return user_texts, {token: item_profile(row, spec) for token, row in items.items()}


def _histories(train: pd.DataFrame) -> dict[str, tuple[list[str], list[float] | None]]:
    """Return per user the items (latest first, then by id) and their ratings."""
    rated = _RATING in train.columns
    n = len(train)
    users, items = train[_USER].map(str).tolist(), train[_ITEM].map(str).tolist()
    ratings = _numbers(train, _RATING) if rated else [0.0] * n
    times = _numbers(train, _TIME) if _TIME in train.columns else [0.0] * n
    seen: dict[str, dict[str, float]] = {}
    for k in sorted(range(n), key=lambda k: (-times[k], items[k], -ratings[k])):
        seen.setdefault(users[k], {}).setdefault(items[k], ratings[k])
    return {u: (list(r), list(r.values()) if rated else None) for u, r in seen.items()}


def _numbers(table: pd.DataFrame, column: str) -> list[float]:
    """Return a column as numbers, whether it was read as text or as numbers."""
    try:
        values = table[column].to_numpy().astype(np.float64)
    except ValueError as error:
        raise DataError(f"column '{column}' of the interactions: {error}") from None
    if not np.isfinite(values).all():
        raise DataError(f"column '{column}' of the interactions has a value that is not finite")
    return [float(value) for value in values]


def _cell(row: Mapping[str, Any], column: str | None, unknown: frozenset[str]) -> str:
    """Return a cell as clean text, ``""`` where it is absent, missing or stands for unknown."""
    value = row.get(column) if column is not None else None
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""  # the second is what csv readers give for an empty cell
    text = " ".join(str(value).split())
    return "" if text.lower() in unknown else text


def _name(row: Mapping[str, Any], spec: ProfileSpec) -> str:
    """Return ``"Title (year)"``, as much of it as is known."""
    title = article_first(_cell(row, spec.title, spec.unknown))
    year = _year(row, spec)
    return f"{title} ({year})" if title and year is not None else title


def _year(row: Mapping[str, Any], spec: ProfileSpec) -> int | None:
    """Return the year, ``None`` where the cell is no whole number (ml-100k has a 'V')."""
    text = _cell(row, spec.year, spec.unknown)
    match = re.fullmatch(r"(\d{1,4})(\.0)?", text, flags=re.ASCII)
    return int(match[1]) if match else None


def _decade(row: Mapping[str, Any], spec: ProfileSpec) -> list[str]:
    year = _year(row, spec)
    return [] if year is None else [f"{year // 10 * 10}s"]


def _categories(row: Mapping[str, Any], spec: ProfileSpec) -> list[str]:
    parts = _cell(row, spec.categories, spec.unknown).split(spec.separator)
    clean = (part.strip() for part in parts)
    return list(dict.fromkeys(part for part in clean if part and part.lower() not in spec.unknown))


def _shares(values: Sequence[Sequence[str]], limit: int) -> str:
    """Return ``"Drama (45%), Comedy (30%)"``: in how many of the lists each value stands."""
    counts: dict[str, int] = {}
    for one in values:
        for value in one:
            counts[value] = counts.get(value, 0) + 1
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
    # Whole numbers throughout, so that the rounding is the same on every machine.
    n = len(values)
    return ", ".join(f"{value} ({(200 * count + n) // (2 * n)}%)" for value, count in top)


def _group(value: str, bins: Sequence[int]) -> str:
    """Return the name of the group of ``bins`` that a number falls into.

    A group's own name, as ``25-34``, stays as it is; what has no digit tells nothing.
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


def _article(noun: str) -> str:
    return "An" if noun[:1].lower() in "aeiou" else "A"


def _sentences(parts: Iterable[str]) -> str:
    """Join non-empty parts into sentences, each with one full stop."""
    return " ".join(p if p.endswith((".", "!", "?", "…")) else f"{p}." for p in parts if p)

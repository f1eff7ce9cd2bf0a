"""Profiles from a template: texts out of table columns and training interactions.

No language model is asked.  Items are described by their own columns, users by theirs and
by what their *training* interactions say.  A validation or test interaction never has any
influence on a text: :mod:`recbole_darec.profiles.inputs` hands none on.

The same input gives the same bytes: no randomness, no dates, no dependence on the order of the
interactions.  A :class:`ProfileSpec` says what the columns of a data set mean;
:meth:`recbole_darec.profiles.domains.Domain.spec` makes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_darec.errors import DataError
from recbole_darec.profiles.domains import Domain
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.report import ProfileReport, Tally
from recbole_darec.profiles.spec import ProfileSpec, cell
from recbole_darec.profiles.words import article_first, with_article

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["item_profile", "render_rows", "template_profiles", "user_profile"]

_USER, _ITEM, _RATING, _TIME = "user_id", "item_id", "rating", "timestamp"


def template_profiles(material: Material, domain: Domain) -> ProfileReport:
    """Make profiles from the tables and the training interactions, without a language model."""
    started = time.perf_counter()
    items, users = material.items, material.users
    of_users, of_items = render_rows(
        {token: items.rows.get(token, {}) for token in items.ids},
        {token: users.rows.get(token, {}) for token in users.ids},
        material.train,
        domain.spec(items.columns, users.columns),
    )
    profiles = {"item": of_items, "user": of_users}
    tallies = {
        kind: Tally(prompts=len(texts), answered=len(texts)) for kind, texts in profiles.items()
    }
    return ProfileReport(profiles, tallies, seconds=time.perf_counter() - started)


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
    what = with_article(spec.item_noun)
    if categories:
        what += f" of the {spec.category_noun} {', '.join(categories)}"
    phrases = [column.render(row, spec.unknown) for column in spec.item_columns]
    return _sentences([name, what, *phrases])


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
    named with their share of the liked items, most frequent first, ties by name.  Titles are those
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

    phrases = [column.render(row, spec.unknown) for column in spec.user_columns]
    sentences = [", ".join([with_article(spec.user_noun), *filter(None, phrases)])]

    if scores:
        bar = min(spec.liked_from, max(scores))
        liked = [item_table.get(i, {}) for i, s in zip(train_items, scores) if s >= bar]
        shares = _shares([_categories(item, spec) for item in liked], spec.max_categories)
        if shares:
            sentences.append(f"Likes the {spec.category_noun} {shares}")
        shares = _shares([_decade(item, spec) for item in liked], spec.max_decades)
        if shares:
            sentences.append(f"Likes {spec.plural_noun} from the {shares}")
        best = sorted(range(len(scores)), key=lambda n: -scores[n])  # stable: ties keep their order
        names = (_name(item_table.get(train_items[n], {}), spec) for n in best)
        titles = list(dict.fromkeys(filter(None, names)))[: spec.max_titles]
        if titles:
            sentences.append(f"Favourite {spec.plural_noun}: {'; '.join(titles)}")
    return _sentences(sentences)


def render_rows(
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


def _name(row: Mapping[str, Any], spec: ProfileSpec) -> str:
    """Return ``"Title (year)"``, as much of it as is known."""
    title = article_first(cell(row, spec.title, spec.unknown))
    year = _year(row, spec)
    return f"{title} ({year})" if title and year is not None else title


def _year(row: Mapping[str, Any], spec: ProfileSpec) -> int | None:
    """Return the year, ``None`` where the cell is no whole number (ml-100k has a 'V')."""
    text = cell(row, spec.year, spec.unknown)
    match = re.fullmatch(r"(\d{1,4})(\.0)?", text, flags=re.ASCII)
    return int(match[1]) if match else None


def _decade(row: Mapping[str, Any], spec: ProfileSpec) -> list[str]:
    year = _year(row, spec)
    return [] if year is None else [f"{year // 10 * 10}s"]


def _categories(row: Mapping[str, Any], spec: ProfileSpec) -> list[str]:
    parts = cell(row, spec.categories, spec.unknown).split(spec.separator)
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


def _sentences(parts: Iterable[str]) -> str:
    """Join non-empty parts into sentences, each with one full stop."""
    return " ".join(p if p.endswith((".", "!", "?", "…")) else f"{p}." for p in parts if p)

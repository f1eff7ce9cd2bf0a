"""Texts from columns and training interactions: what they say, and what can never move them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recbole_darec.errors import DataError
from recbole_darec.profiles.domains import read_domain
from recbole_darec.profiles.spec import Column, ProfileSpec
from recbole_darec.profiles.template import item_profile, user_profile
from recbole_darec.profiles.words import article_first, plural, with_article

from .tables import texts_of

ITEMS = pd.DataFrame(
    [
        ("i1", "Toy Story", "1995", "Animation Children's Comedy"),
        ("i2", "Usual Suspects, The", "1995", "Crime Thriller"),
        ("i3", "M", "1931", "Crime Film-Noir Thriller"),
        ("i4", "Alien", "1979", "Horror Sci-Fi"),
        ("i5", "unkonwn", "unkonwn", "unknown"),
        ("i6", "Land Before Time", "V", "Animation"),
    ],
    columns=["item_id", "movie_title", "release_year", "class"],
)
USERS = pd.DataFrame(
    [("u1", "24", "M", "technician"), ("u2", "17", "F", "none"), ("u3", "56", "M", "writer")],
    columns=["user_id", "age", "gender", "occupation"],
)
ML_100K = read_domain("movies").spec(list(ITEMS.columns), list(USERS.columns))
ITEM_ROWS = {row["item_id"]: row for row in ITEMS.to_dict("records")}


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("business", "businesses"), ("story", "stories"), ("dish", "dishes"), ("movie", "movies"),
        ("board game", "board games"), ("play", "plays"), ("box", "boxes"), ("person", "people"),
        ("TV series", "TV series"), ("news", "news"), ("quiz", "quizzes"), ("Bench", "Benches"),
    ],
)  # fmt: skip
def test_the_plural_of_a_noun(one: str, several: str) -> None:
    assert plural(one) == several
    table = {"i": {"title": "T", "year": "1999"}}
    spec = ProfileSpec(item_noun=one, title="title", year="year")
    text = user_profile({}, ["i"], None, table, spec)
    assert text == f"A user. Likes {several} from the 1990s (100%). Favourite {several}: T (1999)."


def test_a_plural_of_ones_own() -> None:
    spec = ProfileSpec(item_noun="ox", item_nouns="oxen", title="title")
    assert "Favourite oxen: T" in user_profile({}, ["i"], None, {"i": {"title": "T"}}, spec)


@pytest.mark.parametrize(
    ("noun", "told"),
    [
        ("user", "A user"), ("item", "An item"), ("hour", "An hour"),
        ("university", "A university"), ("album", "An album"), ("Event", "An Event"),
        ("uncle", "An uncle"), ("", "A "),
        ("one-act play", "A one-act play"), ("onesie", "An onesie"),
    ],
)  # fmt: skip
def test_the_article_of_a_noun(noun: str, told: str) -> None:
    assert with_article(noun) == told


def interactions(rows: list[tuple[str, str, float, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "timestamp"])


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Affaire, L'", "L'Affaire"),
        (
            "Horseman on the Roof, The (Hussard sur le toit, Le)",
            "The Horseman on the Roof (Hussard sur le toit, Le)",
        ),
        ("Paris, Texas", "Paris, Texas"),
        ("The Net", "The Net"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("", ""),
    ],
)
def test_article_goes_to_the_front(title: str, expected: str) -> None:
    assert article_first(title) == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("i1", "Toy Story (1995). A movie of the genres Animation, Children's, Comedy."),
        ("i2", "The Usual Suspects (1995). A movie of the genres Crime, Thriller."),
        ("i5", "A movie."),
        ("i6", "Land Before Time. A movie of the genres Animation."),
    ],
)
def test_item_text(item: str, expected: str) -> None:
    assert item_profile(ITEM_ROWS[item], ML_100K) == expected


def test_item_text_with_other_columns() -> None:
    spec = ProfileSpec(
        item_noun="album",
        title="name",
        categories="tags",
        category_noun="styles",
        separator=",",
        item_columns=(Column("label", "released by {}"), Column("pages")),
    )
    row = {"name": "Blue", "tags": "folk rock, jazz, jazz,", "label": " Reprise ", "pages": None}
    assert item_profile(row, spec) == (
        "Blue. An album of the styles folk rock, jazz. released by Reprise."
    )
    assert item_profile({"name": float("nan")}, spec) == "An album."


def test_user_text() -> None:
    text = user_profile(
        {"age": "24", "gender": "M", "occupation": "technician"},
        ["i4", "i1", "i2", "i3", "missing"],
        [2, 4, 5, 5, 4],
        ITEM_ROWS,
        ML_100K,
    )
    # Four are liked (i1, i2, i3, missing); i4 is named last among the titles, and nowhere else.
    assert text == (
        "A movie viewer, aged 18-24, male, occupation technician. "
        "Likes the genres Crime (50%), Thriller (50%), Animation (25%), Children's (25%). "
        "Likes movies from the 1990s (50%), 1930s (25%). "
        "Favourite movies: The Usual Suspects (1995); M (1931); Toy Story (1995); Alien (1979)."
    )


def test_a_strict_user_likes_their_own_best() -> None:
    text = user_profile({}, ["i1", "i4"], [1, 3], ITEM_ROWS, ML_100K)
    assert "Likes the genres Horror (100%), Sci-Fi (100%). " in text
    assert "Animation" not in text


def test_without_ratings_every_item_is_liked() -> None:
    text = user_profile({}, ["i1", "i4"], None, ITEM_ROWS, ML_100K)
    assert "Animation (50%)" in text
    assert "Horror (50%)" in text


def test_a_user_of_whom_nothing_is_known_still_has_a_text() -> None:
    assert user_profile({}, [], [], {}, ML_100K) == "A movie viewer."
    assert user_profile({}, ["i5"], [5], ITEM_ROWS, ML_100K) == "A movie viewer."


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ("17", "under 18"),
        ("18", "18-24"),
        ("55", "50-55"),
        ("56", "56 or older"),
        ("25-34", "25-34"),
        ("?", ""),
    ],
)
def test_age_groups(age: str, expected: str) -> None:
    assert ML_100K.user_columns[0].render({"age": age}, frozenset()) == (
        f"aged {expected}" if expected else ""
    )


def test_a_rating_count_that_differs_is_an_error() -> None:
    with pytest.raises(DataError, match="2 training items but 1 ratings"):
        user_profile({}, ["i1", "i2"], [5], ITEM_ROWS, ML_100K)


ROW = st.tuples(
    st.sampled_from(list(USERS["user_id"])),
    st.sampled_from(list(ITEMS["item_id"])),
    st.integers(1, 5).map(float),
    st.integers(0, 3).map(float),
)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(ROW, st.integers(0, 2), ROW, st.booleans()), max_size=12),
    data=st.data(),
)
def test_no_held_out_interaction_moves_a_text(rows: list, data: st.DataObject) -> None:
    """Held-out rows may be changed at will or removed, and rows may stand in any order."""
    labels = np.array([label for _, label, _, _ in rows], dtype=np.uint8)
    assume(not labels.all())  # without any training interaction there is nothing to tell
    before = texts_of(ITEMS, USERS, interactions([row for row, *_ in rows]), labels)
    kept = [
        (row if label == 0 else other, label)
        for row, label, other, removed in rows
        if label == 0 or not removed
    ]
    kept = data.draw(st.permutations(kept))
    after = texts_of(
        ITEMS,
        USERS,
        interactions([row for row, _ in kept]),
        np.array([label for _, label in kept], dtype=np.uint8),
    )
    assert after == before
    assert list(before[0]) == list(USERS["user_id"])
    assert list(before[1]) == list(ITEMS["item_id"])
    assert all(text.strip() and "\n" not in text for texts in before for text in texts.values())


@pytest.mark.parametrize(
    "changed",
    [
        ("u1", "i4", 5.0, 2.0),  # another item
        ("u1", "i1", 1.0, 2.0),  # another rating
        ("u1", "i1", 5.0, 0.0),  # another time: the order of equal ratings
        ("u2", "i1", 5.0, 2.0),  # another user
    ],
)
def test_a_training_interaction_does_move_a_text(changed: tuple) -> None:
    rows = [("u1", "i1", 5.0, 2.0), ("u1", "i2", 5.0, 1.0)]
    labels = np.zeros(2, dtype=np.uint8)
    before = texts_of(ITEMS, USERS, interactions(rows), labels)
    after = texts_of(ITEMS, USERS, interactions([changed, rows[1]]), labels)
    assert after[0]["u1"] != before[0]["u1"]
    assert after[1] == before[1]


def test_ids_that_are_in_one_file_only_are_covered() -> None:
    inter = interactions([("u9", "i9", 5.0, 0.0), ("u1", "i8", 5.0, 0.0)])
    users, items = texts_of(ITEMS, USERS, inter, np.array([0, 2], dtype=np.uint8))
    assert list(users) == ["u1", "u2", "u3", "u9"]
    assert list(items) == [*ITEMS["item_id"], "i8", "i9"]
    assert users["u9"] == "A movie viewer."
    assert items["i8"] == "A movie."


def test_a_repeated_pair_counts_once_with_its_latest_rating() -> None:
    rows = [("u1", "i4", 5.0, 1.0), ("u1", "i4", 1.0, 2.0), ("u1", "i1", 4.0, 0.0)]
    users, _ = texts_of(ITEMS, USERS, interactions(rows), np.zeros(3, np.uint8))
    assert "Horror" not in users["u1"]
    assert "Animation (100%)" in users["u1"]


def test_numbers_and_missing_cells_are_read_whatever_their_type() -> None:
    items = pd.DataFrame({"item_id": [1, 2], "movie_title": ["A", None], "release_year": [1995, 1]})
    items["release_year"] = items["release_year"].astype("Int64").where(items["item_id"] == 1)
    users = pd.DataFrame({"user_id": [7]})
    inter = pd.DataFrame({"user_id": [7, 7], "item_id": [1, 2], "rating": ["4", "5"]})
    of_user, of_item = texts_of(items, users, inter, np.zeros(2, np.uint8))
    assert of_item == {"1": "A (1995). A movie.", "2": "A movie."}
    assert of_user["7"].endswith("Favourite movies: A (1995).")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, u, x: (i, u, x.drop(columns="item_id")), "no column 'item_id'"),
        (lambda i, u, x: (i.drop(columns="item_id"), u, x), r"\.item has no column 'item_id'"),
        (lambda i, u, x: (pd.concat([i, i[:1]]), u, x), "more than one row for the id i1"),
        (lambda i, u, x: (i, u, x.assign(rating="good")), "column 'rating'"),
        (lambda i, u, x: (i, u, x.assign(timestamp=np.nan)), "column 'timestamp'"),
        (lambda i, u, x: (i, u.rename(columns={"user_id": "uid"}), x), r"\.user has no column"),
        (lambda i, u, x: (i, u, x[:0]), "no training interactions"),
    ],
)
def test_bad_tables_are_named(change, message: str) -> None:
    inter = interactions([("u1", "i1", 5.0, 0.0)])
    items, users, inter = change(ITEMS, USERS, inter)
    with pytest.raises(DataError, match=message):
        texts_of(items, users, inter, np.zeros(len(inter), np.uint8))

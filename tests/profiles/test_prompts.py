"""The prompts: equations 13 and 14 against naive versions, and a sample that is a fair one."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.errors import DataError, OptionError
from recbole_darec.profiles.domains import Domain, read_domain
from recbole_darec.profiles.inputs import Entities, Material
from recbole_darec.profiles.prompts import (
    Prompt,
    PromptOptions,
    _rank,
    _sample,
    item_prompts,
    user_prompts,
)
from recbole_darec.profiles.reviews import read_reviews

DOMAIN = Domain(
    "tests",
    "item, {max_words} words",
    "user, {max_words} words",
    {"title": ("title",), "description": ("description",), "unknown": ("Unknown", "n/a")},
)
Rows = dict[str, dict[str, str]]


def material(
    items: Rows,
    train: list[tuple[str, str, str]],
    more_users: tuple[str, ...] = (),
    reviews_file: Path | None = None,
) -> Material:
    """A data set of an item table and (user, item, review) in training."""
    columns = tuple(dict.fromkeys(itertools.chain.from_iterable(items.values())))
    known = dict.fromkeys([*items, *sorted({item for _, item, _ in train})])
    users = tuple(sorted({user for user, _, _ in train})) + more_users
    frame = pd.DataFrame(train, columns=["user_id", "item_id", "review"], dtype=object)
    return Material(
        dataset="tests",
        users=Entities(users),
        items=Entities(tuple(known), columns, items),
        train=frame if reviews_file is None else frame[["user_id", "item_id"]],
        counts={"train": len(train), "valid": 0, "test": 0},
        split=None,
        train_sha256="",
        reviews_file=reviews_file,
    )


def shown(prompt: Prompt) -> Any:
    return json.loads(prompt.text)


def only(prompts: list[Prompt], owner: str) -> Prompt:
    (found,) = (prompt for prompt in prompts if prompt.id == owner)
    return found


# -- equation 13 ----------------------------------------------------------------------------------


def test_an_item_with_a_description_is_told_by_it_and_nothing_else() -> None:
    data = material(
        {"i": {"title": "Dune", "description": "A desert  planet.", "brand": "Ace"}},
        [("u", "i", "Loved it.")],
    )
    (prompt,), nothing = item_prompts(data, DOMAIN, PromptOptions(max_words=70))
    assert shown(prompt) == {"title": "Dune", "description": "A desert planet."}
    assert prompt.used == ()
    assert (prompt.kind, prompt.id, prompt.system) == ("item", "i", "item, 70 words")
    assert nothing == []


def test_an_item_without_one_by_its_attributes_and_reviews() -> None:
    data = material(
        {"i": {"title": "Dune", "description": "", "brand": "Ace", "year": ""}},
        [("u", "i", "Loved\nit."), ("v", "i", "Sand."), ("w", "i", " "), ("u", "j", "Other.")],
    )
    prompts, _ = item_prompts(data, DOMAIN, PromptOptions())
    prompt = only(prompts, "i")
    told = shown(prompt)
    assert told["title"] == "Dune"
    assert told["attributes"] == {"brand": "Ace"}
    assert sorted(told["reviews"]) == ["Loved it.", "Sand."]
    assert set(prompt.used) == {("u", "i"), ("v", "i")}
    assert shown(only(prompts, "j")) == {"title": None, "reviews": ["Other."]}


@pytest.mark.parametrize("cell", ["unknown", "UNKNOWN", " N/A ", ""])
def test_a_cell_that_stands_for_unknown_is_left_out(cell: str) -> None:
    rows = {"i": {"title": cell, "description": cell, "brand": cell}, "j": {"title": "x"}}
    prompts, nothing = item_prompts(material(rows, [("u", "j", "")]), DOMAIN, PromptOptions())
    assert nothing == ["i"]
    assert shown(only(prompts, "j")) == {"title": "x"}


def test_an_item_of_which_nothing_is_known_is_not_asked_about() -> None:
    data = material({"i": {"title": ""}}, [("u", "i", ""), ("u", "j", ""), ("u", "k", "Fine.")])
    prompts, nothing = item_prompts(data, DOMAIN, PromptOptions())
    assert nothing == ["i", "j"]
    assert [prompt.id for prompt in prompts] == ["k"]


def test_the_article_comes_first_as_in_the_template() -> None:
    data = material({"i": {"title": "Usual Suspects, The"}}, [("u", "i", "")])
    assert shown(item_prompts(data, DOMAIN, PromptOptions())[0][0])["title"] == "The Usual Suspects"
    (prompt,), _ = user_prompts(data, DOMAIN, PromptOptions(), {})
    assert shown(prompt)[0]["title"] == "The Usual Suspects"


def test_long_texts_are_cut_after_some_words() -> None:
    long = " ".join(f"w{n}" for n in range(50))
    short = " ".join(f"w{n}" for n in range(20)) + " …"
    data = material(
        {"i": {"description": long}, "j": {"description": "", "notes": long}},
        [("u", "i", long), ("u", "j", long)],
    )
    options = PromptOptions(text_words=20)
    prompts, _ = item_prompts(data, DOMAIN, options)
    assert shown(only(prompts, "i"))["description"] == short
    assert shown(only(prompts, "j")) == {
        "title": None, "attributes": {"notes": short}, "reviews": [short]
    }  # fmt: skip
    (prompt,), _ = user_prompts(data, DOMAIN, options, {"i": long})
    first = next(entry for entry in shown(prompt) if entry["description"])
    assert first == {"title": None, "description": long, "review": short}, "a profile is not cut"


# -- equation 14 ----------------------------------------------------------------------------------


def test_a_user_is_told_by_items_with_their_profiles_and_the_own_reviews() -> None:
    data = material(
        {"i": {"title": "Dune", "description": "D", "brand": "Ace"}, "j": {"title": "Emma"}},
        [("u", "i", "Loved\n it."), ("u", "j", ""), ("v", "i", "Hated it."), ("v", "k", "So so.")],
        more_users=("w",),
    )
    prompts, nothing = user_prompts(data, DOMAIN, PromptOptions(max_words=9), {"i": "For fans."})
    assert sorted(shown(only(prompts, "u")), key=str) == sorted(
        [
            {"title": "Dune", "description": "For fans.", "review": "Loved it."},
            {"title": "Emma", "description": None, "review": None},
        ],
        key=str,
    )
    assert set(only(prompts, "u").used) == {("u", "i"), ("u", "j")}
    of_v = shown(only(prompts, "v"))
    assert {"title": "Dune", "description": "For fans.", "review": "Hated it."} in of_v
    assert {"title": None, "description": None, "review": "So so."} in of_v
    assert only(prompts, "v").system == "user, 9 words"
    assert nothing == ["w"], "a user without a training interaction"


# -- naive versions -------------------------------------------------------------------------------


def naive_cell(data: Material, item: str, column: str) -> str:
    text = " ".join(data.items.rows.get(item, {}).get(column, "").split())
    return "" if text.lower() in ("unknown", "n/a") else text


def cut(text: str, words: int) -> str:
    return text if len(text.split()) <= words else " ".join(text.split()[:words]) + " …"


def naive_reviews(data: Material) -> dict[tuple[str, str], str]:
    """The first review of each pair that has one."""
    found: dict[tuple[str, str], str] = {}
    for user, item, text in data.train.itertuples(index=False):
        if text.strip() and (user, item) not in found:
            found[user, item] = " ".join(text.split())
    return found


def naive_item(data: Material, item: str, options: PromptOptions) -> tuple[Any, Any]:
    told: dict[str, Any] = {"title": naive_cell(data, item, "title") or None}
    description = naive_cell(data, item, "description")
    if description:
        return {**told, "description": cut(description, options.text_words)}, ()
    attributes = {
        c: cut(naive_cell(data, item, c), options.text_words)
        for c in data.items.columns
        if c not in ("title", "description") and naive_cell(data, item, c)
    }
    if attributes:
        told["attributes"] = attributes
    of_item = {u: text for (u, i), text in naive_reviews(data).items() if i == item}
    order = sorted(of_item, key=lambda user: _rank(options.seed, "item", item, user))
    order = order[: options.reviews_per_item]
    if order:
        told["reviews"] = [cut(of_item[user], options.text_words) for user in order]
    return told, tuple((user, item) for user in order)


def naive_user(
    data: Material, user: str, options: PromptOptions, profiles: dict[str, str]
) -> tuple[Any, Any]:
    items = {i for u, i in zip(data.train["user_id"], data.train["item_id"]) if u == user}
    order = sorted(items, key=lambda item: _rank(options.seed, "user", user, item))
    order = order[: options.items_per_user]
    reviews = naive_reviews(data)
    told = [
        {
            "title": " ".join(data.items.rows.get(i, {}).get("title", "").split()) or None,
            "description": profiles.get(i),
            "review": cut(reviews[user, i], options.text_words) if (user, i) in reviews else None,
        }
        for i in order
    ]
    return told, tuple((user, item) for item in order)


cells = st.sampled_from(["", "a", "two words", "one two three four five", "Unknown", "é\t日本"])
reviews_drawn = st.sampled_from(["", " ", "good", "bad  and\nlong and longer", "\U0001f600 x"])


@st.composite
def data_sets(draw: st.DrawFn) -> Material:
    items = [f"i{n}" for n in range(draw(st.integers(1, 6)))]
    columns = draw(
        st.sets(st.sampled_from(["title", "description", "brand", "year"]), min_size=1).map(sorted)
    )
    with_row = draw(st.lists(st.sampled_from(items), unique=True))
    rows = {item: {column: draw(cells) for column in columns} for item in with_row}
    pair = st.tuples(st.sampled_from(["u", "v", "w"]), st.sampled_from(items), reviews_drawn)
    return material(rows, draw(st.lists(pair, min_size=1, max_size=25)), more_users=("z",))


options_drawn = st.builds(
    PromptOptions,
    items_per_user=st.integers(1, 4),
    reviews_per_item=st.integers(0, 3),
    text_words=st.integers(1, 4),
    seed=st.integers(0, 3),
)


@settings(max_examples=150)
@given(data_sets(), options_drawn)
def test_items_against_the_naive_version(data: Material, options: PromptOptions) -> None:
    prompts, nothing = item_prompts(data, DOMAIN, options)
    expected = {item: naive_item(data, item, options) for item in data.items.ids}
    known = {item: told for item, told in expected.items() if any(told[0].values())}
    assert {p.id: (shown(p), p.used) for p in prompts} == known
    assert nothing == [item for item in data.items.ids if item not in known]
    assert [p.id for p in prompts] == [item for item in data.items.ids if item in known]


@settings(max_examples=150)
@given(data_sets(), options_drawn, st.dictionaries(st.sampled_from(["i0", "i1", "i2"]), cells))
def test_users_against_the_naive_version(
    data: Material, options: PromptOptions, profiles: dict[str, str]
) -> None:
    prompts, nothing = user_prompts(data, DOMAIN, options, profiles)
    users = sorted(set(data.train["user_id"]))
    assert {p.id: (shown(p), p.used) for p in prompts} == {
        user: naive_user(data, user, options, profiles) for user in users
    }
    assert nothing == ["z"]


# -- the sample -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [("item", 1), ("item", 5), ("user", 5), ("user", 19)])
def test_the_sample_is_uniform(kind: str, size: int) -> None:
    """Each of 20 is drawn as often as the others; chi-square of 19 degrees of freedom below 60.

    A fair sample is above it once in 300,000 times; nothing is random here, so it cannot flake.
    """
    others = [f"o{n}" for n in range(20)]
    owners = [f"x{n}" for n in range(3000)]
    counts = dict.fromkeys(others, 0)
    for owner in owners:
        drawn = _sample(others, size, 2020, kind, owner)
        assert len(set(drawn)) == size
        for other in drawn:
            counts[other] += 1
    share = size / len(others)
    expected = len(owners) * share
    chi_square = sum((n - expected) ** 2 for n in counts.values()) / (expected * (1 - share))
    chi_square *= (len(others) - 1) / len(others)
    assert chi_square < 60


def test_pairs_are_drawn_as_often_as_chance_has_it() -> None:
    others = [f"o{n}" for n in range(8)]
    counts = dict.fromkeys(itertools.combinations(others, 2), 0)
    for n in range(4000):
        for pair in itertools.combinations(sorted(_sample(others, 3, 1, "user", f"x{n}")), 2):
            counts[pair] += 1
    expected = 4000 * 3 / 28
    assert max(abs(n - expected) for n in counts.values()) < 6 * expected**0.5


def test_another_seed_owner_or_kind_is_another_sample() -> None:
    others = [f"o{n}" for n in range(100)]
    drawn = {
        (seed, kind, owner): tuple(_sample(others, 10, seed, kind, owner))
        for seed in (1, 2)
        for kind in ("item", "user")
        for owner in ("x", "y", "xy")
    }
    assert len(set(drawn.values())) == len(drawn)


def test_names_that_run_together_are_told_apart() -> None:
    assert _rank(1, "user", "a", "bc") != _rank(1, "user", "ab", "c")
    assert _rank(1, "user", 'a", "b', "c") != _rank(1, "user", "a", 'b", "c')


@pytest.mark.parametrize("known", [0, 3, 10, 40])
def test_as_many_as_asked_for_or_as_there_are(known: int) -> None:
    train = [("u", f"i{n}", "") for n in range(known)] + [("v", "j", "")]
    train += [(f"r{n}", "j", f"review {n}") for n in range(known)]
    data = material({}, train)
    options = PromptOptions(items_per_user=10, reviews_per_item=4)
    users, _ = user_prompts(data, DOMAIN, options, {})
    if known:
        assert len(shown(only(users, "u"))) == len(only(users, "u").used) == min(known, 10)
    items, nothing = item_prompts(data, DOMAIN, options)
    if known:
        assert len(shown(only(items, "j"))["reviews"]) == min(known, 4)
    else:
        assert nothing == ["j"]


def test_without_reviews_none_is_shown() -> None:
    data = material({"i": {"title": "x"}}, [("u", "i", "A review.")])
    (prompt,), _ = item_prompts(data, DOMAIN, PromptOptions(reviews_per_item=0))
    assert shown(prompt) == {"title": "x"}
    assert prompt.used == ()


def many(seed: int) -> tuple[Rows, list[tuple[str, str, str]]]:
    """Twelve items, half of them without description, and 150 interactions with reviews."""
    rows = {f"i{n}": {"title": f"t{n}", "description": "d" * (n % 2)} for n in range(12)}
    pairs = [(f"u{a}", f"i{b}") for a in range(25) for b in range(12)]
    random.Random(3).shuffle(pairs)
    train = [(u, i, f"{u} on {i}") for u, i in pairs[:150]]
    random.Random(seed).shuffle(train)
    return rows, train


OPTIONS = PromptOptions(items_per_user=3, reviews_per_item=3)


def all_prompts(data: Material) -> dict[tuple[str, str], Prompt]:
    items, _ = item_prompts(data, DOMAIN, OPTIONS)
    users, _ = user_prompts(data, DOMAIN, OPTIONS, {p.id: f"profile {p.id}" for p in items})
    return {(p.kind, p.id): p for p in (*items, *users)}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_files_does_not_matter(seed: int, tmp_path: Path) -> None:
    rows, train = many(0)
    first = all_prompts(material(rows, train))
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    assert all_prompts(material({i: rows[i] for i in shuffled}, many(seed)[1])) == first
    lines = [json.dumps({"user_id": u, "item_id": i, "review": t}) for u, i, t in train]
    random.Random(seed).shuffle(lines)
    path = tmp_path / "reviews.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert all_prompts(material(rows, train, reviews_file=path)) == first


def test_one_more_interaction_moves_at_most_one_of_a_sample() -> None:
    rows, train = many(0)
    before = all_prompts(material(rows, train))
    known = {(u, i) for u, i, _ in train}
    changed = 0
    for pair in itertools.product([f"u{a}" for a in range(0, 25, 4)], rows):
        if pair in known:
            continue
        after = all_prompts(material(rows, [*train, (*pair, "new")]))
        for key, prompt in after.items():
            if key not in (("user", pair[0]), ("item", pair[1])):
                assert prompt == before[key]
                continue
            gone = set(before[key].used) - set(prompt.used)
            assert set(prompt.used) - set(before[key].used) <= {pair}
            assert len(gone) <= 1
            changed += prompt != before[key]
    assert changed > 10


# -- texts that are hard to write down -------------------------------------------------------------


def test_half_of_a_surrogate_pair_does_not_reach_a_request(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text('{"user_id": "u", "item_id": "i", "review": "ha\\ud83d \\ud83d\\ude00"}\n')
    data = material({}, [("u", "i", "")], reviews_file=path)
    for prompt in all_prompts(data).values():
        prompt.text.encode("utf-8")
        assert "ha? \U0001f600" in prompt.text
    assert len(all_prompts(data)) == 2


def test_a_text_is_shown_as_it_is_and_not_as_json_escapes() -> None:
    data = material({"i": {"title": 'Tom "Ä" Ö\\ 日本'}}, [("u", "i", "")])
    (prompt,), _ = item_prompts(data, DOMAIN, PromptOptions())
    assert "Ä" in prompt.text
    assert "日本" in prompt.text
    assert shown(prompt)["title"] == 'Tom "Ä" Ö\\ 日本'


FAULTY = {
    "no json": b"{",
    "no object": b"[1]",
    "a text": b'"review"',
    "a number": b"7",
    "no item": b'{"user_id": "u", "review": "x"}',
    "no review": b'{"user_id": "u", "item_id": "i"}',
    "no utf-8": b'{"user_id": "u", "item_id": "i", "review": "\xff"}',
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_line_of_reviews_is_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "reviews.jsonl"
    sound = b'{"user_id": "u", "item_id": "i", "review": "x"}'
    path.write_bytes(sound + b"\n\n" + FAULTY[name] + b"\n")
    data = material({}, [("u", "i", "")], reviews_file=path)
    with pytest.raises(DataError, match=r"line 3: not a JSON object") as caught:
        read_reviews(data.train, data.reviews_file, {("u", "i"): None})
    assert str(path) in str(caught.value)


def test_a_review_that_is_no_text_or_of_another_pair_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    rows = [("u", "i", None), ("u", "i", 7), ("u", "i", " "), ("x", "i", "foreign"),
            ("u", "i", "first"), ("u", "i", "second"), (1, 2, "numbers")]  # fmt: skip
    lines = [json.dumps(dict(zip(("user_id", "item_id", "review"), row))) for row in rows]
    path.write_text("\r\n".join(lines))
    data = material({}, [("u", "i", ""), ("1", "2", "")], reviews_file=path)
    wanted = dict.fromkeys([("u", "i"), ("x", "i"), ("1", "2")])
    assert read_reviews(data.train, data.reviews_file, wanted) == {
        ("u", "i"): "first",
        ("1", "2"): "numbers",
    }
    (prompt, _), _ = item_prompts(data, DOMAIN, PromptOptions())
    assert shown(prompt)["reviews"] == ["numbers"]


# -- the key --------------------------------------------------------------------------------------


def test_the_key_changes_with_all_that_changes_the_question() -> None:
    base = Prompt("item", "i", "system", "text", (("u", "i"),))
    key = base.key("m", 0.0)
    others = [
        Prompt("item", "i", "system.", "text", ()).key("m", 0.0),
        Prompt("item", "i", "system", "text.", ()).key("m", 0.0),
        Prompt("item", "i", "syste", "mtext", ()).key("m", 0.0),
        base.key("m2", 0.0),
        base.key("m", 0.1),
        base.key("m", None),
    ]
    assert len({key, *others}) == 7
    assert len(key) == 64


def test_the_key_is_the_questions_alone() -> None:
    """Two ids of which the same is known share an answer, which is then paid once."""
    key = Prompt("item", "i", "s", "t", ()).key("m", 0.0)
    assert Prompt("item", "j", "s", "t", (("u", "j"),)).key("m", 0) == key


def test_the_word_limit_the_domain_and_the_samples_change_the_key() -> None:
    rows, train = many(0)
    data = material(rows, train)
    keys = set()
    for domain, options in [
        (DOMAIN, OPTIONS),
        (DOMAIN, PromptOptions(items_per_user=3, reviews_per_item=3, max_words=50)),
        (DOMAIN, PromptOptions(items_per_user=4, reviews_per_item=3)),
        (DOMAIN, PromptOptions(items_per_user=3, reviews_per_item=3, seed=7)),
        (read_domain("games"), OPTIONS),
    ]:
        prompts, _ = user_prompts(data, domain, options, {})
        keys.add(only(prompts, "u1").key("m", 0.0))
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"items_per_user": 0}, "--items-per-user"),
        ({"reviews_per_item": -1}, "--reviews-per-item"),
        ({"text_words": 0}, "--text-words"),
        ({"max_words": 0}, "--max-words"),
    ],
)
def test_options_out_of_their_range(options: dict[str, int], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        PromptOptions(**options)

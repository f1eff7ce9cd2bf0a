"""No leak: nothing of a validation or test interaction moves a prompt by a byte.

Small data sets in each form that there is are spoiled in their held-out part, in every way that
hypothesis thinks of, and all texts are made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from recbole_darec.cli.main import main
from recbole_darec.data.splits import held_out, ratio_split
from recbole_darec.errors import DataError, UserError
from recbole_darec.profiles.domains import read_domain
from recbole_darec.profiles.inputs import read_material
from recbole_darec.profiles.prompts import PromptOptions, item_prompts, user_prompts
from recbole_darec.profiles.template import template_profiles
from recbole_darec.resolve import resolve
from recbole_darec.run import prepare

N_USERS, N_ITEMS, PER_USER = 7, 11, 6
PARTS = ("train", "valid", "test")
FORMS = ("three files", "three files, review column", "one file", "one file, review column")
DOMAIN = read_domain("movies")


@dataclass(frozen=True)
class Row:
    """One interaction; ``part`` counts where the parts are files."""

    part: int
    user: str
    item: str
    rating: str
    time: str
    review: str


def base_rows(form: str) -> list[Row]:
    """Interactions of every user with six items, each with a review of its own."""
    rng = random.Random(7)
    rows = []
    for user in range(N_USERS):
        for place, item in enumerate(rng.sample(range(N_ITEMS), PER_USER)):
            part = 0 if place < 4 else place - 3
            text = f'review {user} {item} \u2014 "so"\tit\nis'
            rows.append(
                Row(part, f"u{user}", f"i{item}", str(1 + rng.randrange(5)),
                    str(rng.randrange(10**9)), text)
            )  # fmt: skip
    rng.shuffle(rows)
    return label(rows) if form.startswith("one file") else rows


def label(rows: list[Row]) -> list[Row]:
    """Write into ``part`` what the split of one file gives."""
    groups = pd.Series([row.user for row in rows]).to_numpy().astype(str)
    parts = ratio_split(groups, len(rows), ratios=(3, 1, 1), seed=11)
    return [dataclasses.replace(row, part=int(part)) for row, part in zip(rows, parts)]


def write(folder: Path, form: str, rows: list[Row]) -> None:
    """Write the data set ``d`` below ``folder``."""
    d = folder / "d"
    d.mkdir(parents=True)
    in_table = form.endswith("column")
    columns = {
        "user_id:token": "user",
        "item_id:token": "item",
        "rating:float": "rating",
        "timestamp:float": "time",
        **({"review:token_seq": "review"} if in_table else {}),
    }
    load = "load_col:\n  inter: [user_id, item_id, rating, timestamp]\n"
    if form.startswith("one file"):
        names = {"d.inter": rows}
        load += "split_seed: 11\neval_args: {split: {RS: [3, 1, 1]}, group_by: user, order: RO, "
        load += "mode: full}\n"
    else:
        names = {f"d.{name}.inter": [r for r in rows if r.part == n]
                 for n, name in enumerate(PARTS)}  # fmt: skip
        load += "benchmark_filename: [train, valid, test]\n"
    for name, part in names.items():
        frame = pd.DataFrame({h: [getattr(r, f) for r in part] for h, f in columns.items()})
        frame.to_csv(d / name, sep="\t", index=False)
    (d / "d.yaml").write_text(load, encoding="utf-8")
    if not in_table:
        lines = [{"user_id": r.user, "item_id": r.item, "review": r.review} for r in rows]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (d / "d.reviews.jsonl").write_text(text, encoding="utf-8")
    # i0 has a description, i9 and i10 no row at all: they are known by their interactions alone.
    items = [f"i{n}\tTitle {n}\t{'A story.' if n == 0 else ''}\tDrama|Noir\t{1990 + n}\n"
             for n in range(9)]  # fmt: skip
    header = "item_id:token\ttitle:token_seq\tdescription:token_seq\tgenres:token_seq\tyear:token\n"
    (d / "d.item").write_text(header + "".join(items), encoding="utf-8")
    (d / "d.user").write_text("user_id:token\tage:token\nu0\t30\nu1\t61\n", encoding="utf-8")


@dataclass(frozen=True)
class Made:
    """All texts of a data set, by kind and id, and the digest of its training pairs."""

    prompts: dict[tuple[str, str], str]
    used: set[tuple[str, str]]
    templates: dict[tuple[str, str], str]
    ids: set[str]
    train_sha256: str


def texts_of(data_path: Path, options: PromptOptions) -> Made:
    """Make them; an item's profile is a digest of its prompt, so that a change would go on."""
    material = read_material("d", str(data_path))
    items, _ = item_prompts(material, DOMAIN, options)
    profiles = {p.id: hashlib.sha256(p.text.encode()).hexdigest() for p in items}
    users, _ = user_prompts(material, DOMAIN, options, profiles)
    report = template_profiles(material, DOMAIN)
    return Made(
        {(p.kind, p.id): json.dumps([p.messages(), p.used]) for p in (*items, *users)},
        {pair for p in (*items, *users) for pair in p.used},
        {(kind, i): text for kind, texts in report.texts.items() for i, text in texts.items()},
        {*material.items.ids, *material.users.ids},
        material.train_sha256,
    )


def make(form: str, rows: list[Row], options: PromptOptions) -> Made:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), form, rows)
        return texts_of(Path(folder), options)


WHOLE = PromptOptions(items_per_user=50, reviews_per_item=50)
SAMPLED = PromptOptions(items_per_user=2, reviews_per_item=2)
forms = st.sampled_from(FORMS)
values = {
    "user": st.sampled_from([*[f"u{n}" for n in range(N_USERS)], "new", "\u00e9"]),
    "item": st.sampled_from([*[f"i{n}" for n in range(N_ITEMS)], "new", "a b"]),
    "rating": st.sampled_from(["1", "5", "2.5", "1e9"]),
    "time": st.sampled_from(["0", "2e9", "-1"]),
    "review": st.sampled_from(["", "HELD OUT", "HELD OUT \u65e5\n\"\t'", "x " * 300, "NA"]),
}


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, list[Row], list[Row]]:
    """A form, its rows, and these with some of the held-out ones changed, gone or added."""
    form = draw(forms)
    before = base_rows(form)
    what = ["item", "rating", "time", "review"]
    if not form.startswith("one file"):  # there a row more or another user is another split
        what += ["user", "delete", "add"]
    after = list(before)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.sampled_from([n for n, row in enumerate(after) if row.part]))
        row, change = after[place], draw(st.sampled_from(what))
        if change == "add":
            new = {name: draw(strategy) for name, strategy in values.items()}
            after.insert(draw(st.integers(0, len(after))), Row(row.part, **new))
        elif change != "delete":
            after[place] = dataclasses.replace(row, **{change: draw(values[change])})
        elif sum(other.part == row.part for other in after) > 1:  # an empty file is an error
            del after[place]
        event(change)
    return form, before, after


def ambiguous(form: str, rows: list[Row]) -> bool:
    """Whether a training pair is held out, too, where reviews are told by their pair alone."""
    train = {(r.user, r.item) for r in rows if not r.part}
    held = {(r.user, r.item) for r in rows if r.part}
    return not form.endswith("column") and bool(train & held)


@settings(max_examples=100)
@given(spoiled(), st.sampled_from([WHOLE, SAMPLED]))
def test_nothing_held_out_moves_a_text(
    case: tuple[str, list[Row], list[Row]], options: PromptOptions
) -> None:
    form, rows, changed = case
    before = make(form, rows, options)
    if ambiguous(form, changed):
        with pytest.raises(DataError, match="does not say whose review"):
            make(form, changed, options)
        return
    after = make(form, changed, options)
    assert after.train_sha256 == before.train_sha256
    assert after.used == before.used
    assert after.prompts == before.prompts, "nor does a held-out interaction make a prompt"
    for key, text in before.templates.items():
        if key[1] in after.ids:
            assert after.templates[key] == text
        else:
            assert key[1] in {r.user for r in rows if r.part} | {r.item for r in rows if r.part}
    for text in (*after.prompts.values(), *after.templates.values()):
        assert "HELD OUT" not in text


@pytest.mark.parametrize("form", FORMS)
def test_without_what_is_held_out_the_texts_are_the_same(form: str) -> None:
    """The training rows alone, in a fixed split, give the same prompts."""
    rows = base_rows(form)
    before = make(form, rows, WHOLE)
    three = "three files" + form[len("one file") :] if form.startswith("one") else form
    others = [Row(part, "x", "y", "1", "1", "z") for part in (1, 2)]
    after = make(three, [r for r in rows if not r.part] + others, WHOLE)
    assert after.prompts == before.prompts
    assert after.used == {(r.user, r.item) for r in rows if not r.part}


@pytest.mark.parametrize("form", FORMS)
def test_every_training_row_does_move_a_text(form: str) -> None:
    """The control: a test that compared nothing would pass the ones above."""
    rows = base_rows(form)
    before = make(form, rows, WHOLE)
    training = [n for n, row in enumerate(rows) if not row.part]
    assert len(training) >= 3 * N_USERS
    for n in training[::3]:
        row = rows[n]
        new = dataclasses.replace(row, review="Another review.")
        after = make(form, [*rows[:n], new, *rows[n + 1 :]], WHOLE)
        moved = {key for key in before.prompts if before.prompts[key] != after.prompts[key]}
        assert ("user", row.user) in moved
        assert (("item", row.item) in moved) == (row.item != "i0"), "i0 has a description"
        assert after.train_sha256 == before.train_sha256
        new = dataclasses.replace(row, item="new")
        after = make(form, [*rows[:n], new, *rows[n + 1 :]], WHOLE)
        assert before.prompts["user", row.user] != after.prompts["user", row.user]
        assert after.train_sha256 != before.train_sha256
        lower = dataclasses.replace(row, rating="0")
        after = make(form, [*rows[:n], lower, *rows[n + 1 :]], WHOLE)
        assert after.prompts == before.prompts, "no prompt shows a rating"


@pytest.mark.parametrize("part", [1, 2])
def test_a_column_that_only_held_out_rows_have_is_none(part: int, tmp_path: Path) -> None:
    """Reviews in the test file must not be taken for the data set's way to have reviews."""
    rows = base_rows("three files")
    write(tmp_path, "three files", rows)
    before = texts_of(tmp_path, WHOLE)
    path = tmp_path / "d" / f"d.{PARTS[part]}.inter"
    frame = pd.read_csv(path, sep="\t", dtype=str)
    frame["review:token_seq"] = "HELD OUT"
    frame["title:token_seq"] = "HELD OUT"
    frame.to_csv(path, sep="\t", index=False)
    assert texts_of(tmp_path, WHOLE) == before


def test_a_pair_that_is_in_two_parts_is_refused_where_its_review_cannot_be_told(
    tmp_path: Path,
) -> None:
    rows = base_rows("three files")
    row = next(r for r in rows if not r.part)
    twice = [*rows, dataclasses.replace(row, part=2, review="HELD OUT")]
    write(tmp_path / "a", "three files", twice)
    with pytest.raises(DataError, match="1 pairs are in training and in validation or test") as e:
        texts_of(tmp_path / "a", WHOLE)
    assert row.user in str(e.value)
    # In a column each row has its own review, so that nothing is in doubt.
    form = "three files, review column"
    assert make(form, twice, WHOLE).prompts == make(form, rows, WHOLE).prompts


# -- splits that are not known ----------------------------------------------------------------


@contextmanager
def changed_yaml(tmp_path: Path, old: str, new: str) -> Iterator[None]:
    write(tmp_path, "one file", base_rows("one file"))
    path = tmp_path / "d" / "d.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    yield


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("split_seed: 11\n", "", "depends on the training seed"),
        ("split_seed: 11\n", "split_seed: ~\n", "depends on the training seed"),
        ("{RS: [3, 1, 1]}", "{LS: valid_and_test}", "depends on the training seed"),
        ("{RS: [3, 1, 1]}", "{RS: [4, 1]}", r"\[4, 1\]"),
        ("split_seed: 11\n", "split_seed: 11\nval_interval: {rating: '[3,inf)'}\n", "val_interval"),
        ("split_seed: 11\n", "split_seed: 11\nuser_inter_num_interval: '[9,inf)'\n",
         "user_inter_num_interval"),
        ("split_seed: 11\n", "split_seed: 11\nrm_dup_inter: first\n", "rm_dup_inter"),
    ],
)  # fmt: skip
def test_a_training_part_that_is_not_known_is_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with changed_yaml(tmp_path, old, new), pytest.raises(UserError, match=told):
        texts_of(tmp_path, WHOLE)


@pytest.mark.parametrize("form", FORMS)
def test_the_split_is_noted_where_it_was_drawn(form: str, tmp_path: Path) -> None:
    rows = base_rows(form)
    write(tmp_path, form, rows)
    material = read_material("d", str(tmp_path))
    drawn = {"ratios": [3.0, 1.0, 1.0], "group_by": "user", "seed": 11, "interactions": len(rows)}
    noted = material.split and material.split.note()
    assert noted == (drawn if form.startswith("one file") else None)
    assert set(material.pairs()) == {(r.user, r.item) for r in rows if not r.part}
    assert material.counts == {
        name: sum(r.part == n for r in rows) for n, name in enumerate(PARTS)
    }  # fmt: skip


# -- by the public command ------------------------------------------------------------------------


def dry_run(folder: Path, capsys: Any) -> tuple[str, str]:
    """Return what the command prints, and the table of interactions that it writes."""
    table = folder / "used.tsv"
    arguments = ["profile", "--dataset=d", f"--data-path={folder}", "--domain=movies",
                 "--model=gpt-4o-mini", "--dry-run", f"--interactions-file={table}",
                 "--items-per-user=50", "--reviews-per-item=50"]  # fmt: skip
    assert main(arguments) == 0
    return capsys.readouterr().out.replace(str(folder), ""), table.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", FORMS)
def test_the_dry_run_lists_the_interactions_and_they_are_training(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = base_rows(form)
    write(tmp_path / "a", form, rows)
    printed, table = dry_run(tmp_path / "a", capsys)
    head, *lines = [line.split("\t") for line in table.splitlines()]
    assert head == ["user_id", "item_id", "prompt"]
    train = {(r.user, r.item) for r in rows if not r.part}
    assert {(user, item) for user, item, _ in lines} == train
    # Every one of them enters its user's prompt, and that of its item, if that has no description.
    expected = {(u, i, f"user {u}") for u, i in train}
    expected |= {(u, i, f"item {i}") for u, i in train if i != "i0"}
    assert {tuple(line) for line in lines} == expected
    assert len(lines) == len(expected)
    count = f"interactions used: {len(train)} of the {len(train)} for training; of the "
    assert count in printed
    held = sum(r.part > 0 for r in rows)
    assert "validation" in printed
    # What is held out, changed altogether: not a byte of either is another one.
    new = [dataclasses.replace(r, item=f"h{n}", rating="1", time="5", review="HELD OUT")
           if r.part else r for n, r in enumerate(rows)]  # fmt: skip
    assert sum(r.item.startswith("h") for r in new) == held
    write(tmp_path / "b", form, new)
    after, after_table = dry_run(tmp_path / "b", capsys)
    assert sorted(after_table.splitlines()) == sorted(table.splitlines())
    assert unknown(after) == unknown(printed)


def unknown(printed: str) -> list[str]:
    """The lines without the one that counts the ids of which nothing is known."""
    return [line for line in printed.splitlines() if "nothing is known" not in line]


@pytest.mark.parametrize("form", FORMS)
def test_items_that_are_held_out_whole_are_in_no_training_part(form: str, tmp_path: Path) -> None:
    rows = base_rows(form)
    write(tmp_path, form, rows)
    path = tmp_path / "d" / "d.yaml"
    path.write_text(path.read_text("utf-8") + "cold_items: 0.3\ncold_items_seed: 4\n", "utf-8")
    out = held_out(np.array([row.item for row in rows]), 0.3, 4)
    cold = {row.item for row, is_out in zip(rows, out) if is_out}
    material = read_material("d", str(tmp_path))
    assert len(cold) == 3
    assert not set(material.train["item_id"]) & cold
    assert cold <= set(material.items.ids)  # they get profiles of their own
    left = [row for row in rows if row.item not in cold]
    assert sum(material.counts.values()) == len(left)
    expected = label(left) if form.startswith("one file") else left
    assert set(material.pairs()) == {(r.user, r.item) for r in expected if not r.part}
    if form.startswith("one file"):
        given = {"data_path": str(tmp_path), "align": "none", "topk": [3], "metrics": ["Recall"]}
        run = prepare(resolve("BPR", "d", None, {**given, "valid_metric": "Recall@3"}))
        data = run.train_data._dataset
        trained = zip(
            data.id2token("user_id", data.inter_feat["user_id"]),
            data.id2token("item_id", data.inter_feat["item_id"]),
        )
        assert set(trained) == set(material.pairs())

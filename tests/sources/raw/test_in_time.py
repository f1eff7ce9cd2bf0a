"""Raw data in order of time: who stays, in which order, and what the file then says."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recbole_darec.errors import UserError
from recbole_darec.sources.raw import PrepareReport, prepare

Row = tuple[int, int, int, int]  # user, item, rating, time


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Ratings a few seconds apart, many at one time, pairs that come again, in no order."""
    rng = random.Random(3)
    base = 893_286_638
    made = [
        (rng.randrange(12), rng.randrange(8), rng.randrange(2, 6), base + rng.randrange(40))
        for _ in range(260)
    ]
    (tmp_path / "raw").mkdir()
    text = "".join("\t".join(map(str, row)) + "\n" for row in made)
    (tmp_path / "raw" / "u.data").write_text(text, "utf-8")
    return made


def prepared(tmp_path: Path, **options: Any) -> tuple[PrepareReport, dict[str, list[str]]]:
    """The report, and each user's items by the times of the file."""
    given = {"split": "leave-one-out", "k_core": 0, "overwrite": True, **options}
    report = prepare("movielens", tmp_path / "raw", "m", tmp_path / "out", **given)
    lines = (tmp_path / "out" / "m" / "m.inter").read_text("utf-8").splitlines()[1:]
    cells = [line.split("\t") for line in lines]
    lists: dict[str, list[str]] = {}
    for user, item, _, rank in sorted(cells, key=lambda row: (row[0], float(row[3]))):
        lists.setdefault(user, []).append(item)
        assert float(rank) == len(lists[user])  # ranks from 1 on, without a gap
    return report, lists


def expected(
    rows: list[Row], *, least: float = 3, core: int = 0, latest: int = 0, repeats: bool = False
) -> dict[str, list[str]]:
    numbered = list(enumerate(rows))
    if not repeats:
        last: dict[tuple[int, int], tuple[int, int]] = {}
        for n, (user, item, _, time) in numbered:
            last[user, item] = max(last.get((user, item), (0, -1)), (time, n))
        numbered = [(n, row) for n, row in numbered if last[row[0], row[1]] == (row[3], n)]
    numbered = [(n, row) for n, row in numbered if row[2] >= least]
    lists: dict[str, list[str]] = {}
    for _, row in sorted(numbered, key=lambda pair: (pair[1][0], pair[1][3], pair[0])):
        lists.setdefault(str(row[0]), []).append(str(row[1]))
    return {user: one[-latest:] for user, one in lists.items() if len(one) >= max(core, 1)}


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("latest", [0, 5])
def test_the_order_is_that_of_a_naive_loop(
    rows: list[Row], tmp_path: Path, repeats: bool, latest: int
) -> None:
    report, lists = prepared(
        tmp_path, keep_repeats=repeats, latest=latest, user_core=4, item_core=0, min_rating=4
    )
    assert lists == expected(rows, least=4, core=4, latest=latest, repeats=repeats)
    assert report.kept == sum(map(len, lists.values()))
    twice = sum(a == b for one in lists.values() for a, b in pairwise(one))
    assert report.repeats == twice
    assert (report.duplicates == 0) == repeats
    assert report.interactions["test"] == len(lists)


def test_ties_are_counted_and_drawn_by_the_seed_alone(rows: list[Row], tmp_path: Path) -> None:
    by_file, lists = prepared(tmp_path, keep_repeats=True, min_rating=1)
    times = sorted((row[0], row[3]) for row in rows)
    assert by_file.tied == sum(a == b for a, b in pairwise(times))
    first = prepared(tmp_path, keep_repeats=True, min_rating=1, ties="random", split_seed=1)[1]
    again = prepared(tmp_path, keep_repeats=True, min_rating=1, ties="random", split_seed=1)[1]
    other = prepared(tmp_path, keep_repeats=True, min_rating=1, ties="random", split_seed=2)[1]
    assert first == again != other
    assert first != lists
    assert {u: sorted(one) for u, one in first.items()} == {
        u: sorted(one) for u, one in lists.items()
    }
    assert f"{by_file.tied:,}" in by_file.table()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "3:1:1", "latest": 5}, "--latest is without effect"),
        ({"split": "3:1:1", "keep_repeats": True}, "--keep-repeats is without effect"),
        ({"split": "3:1:1", "ties": "random"}, "--ties is without effect"),
        ({"ties": "name"}, "--ties='name' must be one of file, random"),
        ({"latest": -1}, "--latest=-1 must be at least 0"),
        ({"user_core": 1000}, "no user has three interactions"),
    ],
)
def test_what_does_not_go_together_is_refused(
    rows: list[Row], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_a_source_without_times_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    line = "{'user_id': 'a', 'items': [{'item_id': '1'}, {'item_id': '2'}]}\n"
    (tmp_path / "raw" / "australian_users_items.json").write_text(line, "utf-8")
    (tmp_path / "raw" / "australian_user_reviews.json").write_text(
        "{'user_id': 'a', 'reviews': [{'item_id': '1', 'review': 'x', 'recommend': True}]}\n"
    )
    with pytest.raises(UserError, match="no times to hold out by"):
        prepare("steam", tmp_path / "raw", "m", tmp_path / "out", split="leave-one-out")

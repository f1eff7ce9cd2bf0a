"""Answers, how they are kept."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_darec.data.store import open_store
from recbole_darec.errors import DataError
from recbole_darec.profiles.answers import SCHEMA, Answers, Paid, Question
from recbole_darec.profiles.files import export_answers
from recbole_darec.profiles.reading import Profile

PROFILE = Profile("Readers of slow novels.", "The title.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[sqlite3.Connection]:
    with open_store(path, SCHEMA) as connection:
        yield connection


@pytest.fixture
def answers(store: sqlite3.Connection) -> Answers:
    return Answers(store)


def question(n: int = 0, kind: str = "item") -> Question:
    return Question(f"key{n}", kind, f"{kind}-{n}", "m")


def test_what_is_kept_is_there(answers: Answers) -> None:
    answers.keep(question(1), PROFILE, paid=Paid(10, 5))
    answers.keep(question(2), None, "the answer is empty", "raw text", Paid(20, 0))
    keys = ["key1", "key2", "key3"]
    assert answers.statuses(keys) == {"key1": "ok", "key2": "failed"}
    assert answers.profiles(keys) == {"key1": PROFILE}
    assert answers.spent(keys) == (30, 5)
    assert answers.spent([]) == (0, 0)
    assert answers.statuses([]) == answers.profiles([]) == {}


def test_a_later_answer_takes_an_earlier_ones_place(answers: Answers) -> None:
    answers.keep(question(), None, "the answer is empty", "", Paid(7, 1))
    answers.keep(question(), PROFILE, paid=Paid(8, 2))
    assert answers.statuses(["key0"]) == {"key0": "ok"}
    assert answers.spent(["key0"]) == (15, 3), "both were paid"
    (row,) = answers.all()
    assert "reason" not in row
    assert "raw" not in row


def test_tokens_at_half_the_price_count_half(answers: Answers) -> None:
    answers.count(question(), "the answer is empty", Paid(100, 40, 0.5))
    answers.keep(question(), PROFILE, paid=Paid(100, 40))
    answers.keep(question(1), PROFILE, paid=Paid(10, 10, 0.0))
    assert answers.spent(["key0", "key1"]) == (150, 60)
    assert answers.spent(["key1"]) == (0, 0)
    assert answers.spent(["another"]) == (0, 0)


@pytest.mark.parametrize("table", ["answers", "requests"])
def test_an_answer_and_its_payment_are_kept_together_or_not_at_all(path: Path, table: str) -> None:
    """The second of two statements fails, as on a full disk."""
    with open_store(path, SCHEMA) as store:
        Answers(store).keep(question(1), PROFILE, paid=Paid(1, 1))
        store.execute(
            f"CREATE TRIGGER no_more BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(FAIL, 'disk full'); END"
        )
    with pytest.raises(DataError, match="disk full"), open_store(path, SCHEMA) as store:
        Answers(store).keep(question(2), PROFILE, paid=Paid(1, 1))
    with open_store(path, SCHEMA) as store:
        assert store.execute("SELECT key FROM answers").fetchall() == [("key1",)]
        assert store.execute("SELECT key FROM requests").fetchall() == [("key1",)]


def test_another_process_sees_nothing_half_kept(path: Path, answers: Answers) -> None:
    answers.keep(question(1), PROFILE, paid=Paid(1, 1))
    with open_store(path, SCHEMA) as other:
        assert Answers(other).statuses(["key1"]) == {"key1": "ok"}
        assert Answers(other).spent(["key1"]) == (1, 1)


@pytest.mark.parametrize("number", [499, 500, 501, 1001, 4321])
def test_more_keys_than_one_statement_takes(answers: Answers, number: int) -> None:
    for n in range(0, number, 3):
        answers.keep(question(n), PROFILE if n % 2 else None, paid=Paid(n, 1, 0.5))
    keys = [f"key{n}" for n in range(number)]
    kept = range(0, number, 3)
    assert answers.statuses(keys) == {f"key{n}": "ok" if n % 2 else "failed" for n in kept}
    assert answers.profiles(iter(keys)) == {f"key{n}": PROFILE for n in kept if n % 2}
    assert answers.spent(keys) == (sum(kept) / 2, len(kept) / 2)


def test_all_answers_in_the_order_in_which_they_came(
    answers: Answers, store: sqlite3.Connection
) -> None:
    answers.keep(question(5), PROFILE)
    answers.keep(question(4, "user"), None, "the model refused", "No.\nNever.")
    answers.keep(question(3), Profile("x", ""))
    for at, key in enumerate(("key4", "key3", "key5")):
        store.execute("UPDATE answers SET at = ? WHERE key = ?", (at, key))
    rows = list(answers.all())
    assert [row["id"] for row in rows] == ["user-4", "item-3", "item-5"]
    assert rows[0] == {
        "kind": "user", "id": "user-4", "model": "m", "status": "failed", "key": "key4",
        "reason": "the model refused", "raw": "No.\nNever.", "at": 0.0,
    }  # fmt: skip
    assert (rows[1]["summarization"], rows[1]["reasoning"]) == ("x", "")


def test_the_export_has_every_answer_on_a_line(path: Path, tmp_path: Path) -> None:
    with open_store(path, SCHEMA) as store:
        for n in range(30):
            profile = Profile(f"Profil {n} \u2028 \U0001f600", "weil")
            answers = Answers(store)
            answers.keep(question(n), profile if n % 3 else None, "r", "a\nb", Paid(1, 1))
    out = tmp_path / "answers.jsonl"
    assert export_answers(path, out) == 30
    lines = out.read_bytes().decode("utf-8").split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line) for line in lines]
    assert {row["id"] for row in rows} == {f"item-{n}" for n in range(30)}
    assert sum(row["status"] == "failed" for row in rows) == 10


def test_an_empty_store_is_not_exported(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    with pytest.raises(DataError, match="no store"):
        export_answers(path, out)
    assert not path.exists()
    with open_store(path, SCHEMA):
        pass
    with pytest.raises(DataError, match="no answers yet"):
        export_answers(path, out)
    assert not out.exists()

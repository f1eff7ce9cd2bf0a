"""Answers: what is a profile and what is not, and how both are kept."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data.store import open_store
from recbole_darec.errors import DataError
from recbole_darec.profiles.answers import (
    SCHEMA,
    Answers,
    Paid,
    Profile,
    Question,
    Unusable,
    read_content,
    read_response,
)
from recbole_darec.profiles.files import export_answers

GOOD = {"summarization": "Readers of slow novels.", "reasoning": "The title."}
PROFILE = Profile("Readers of slow novels.", "The title.")


def completion(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": content, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }


def reason(content: Any, most_words: int = 10) -> str:
    with pytest.raises(Unusable) as caught:
        read_content(content, most_words)
    return caught.value.reason


# -- usable ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"\n\n  {json.dumps(GOOD, indent=2)}\n",
        json.dumps({"extra": [1, {"a": None}], **GOOD}),
        f"```json\n{json.dumps(GOOD)}\n```",
        f"```\n{json.dumps(GOOD, indent=2)}```",
        f"```JSON  \r\n{json.dumps(GOOD)}\r\n```",
        f"Here is the profile:\n\n```json\n{json.dumps(GOOD)}\n```\nI hope that it helps!",
        json.dumps({**GOOD, "summarization": "  Readers\nof   slow\tnovels. "}),
    ],
)
def test_a_usable_answer(text: str) -> None:
    assert read_content(text, 10) == PROFILE
    assert read_response(completion(text), 10) == PROFILE


def test_a_fence_inside_the_json_is_text() -> None:
    text = json.dumps({"summarization": "Likes ```code``` books.", "reasoning": "a\n```\nb\n```\n"})
    assert read_content(text, 10) == Profile("Likes ```code``` books.", "a ``` b ```")


@pytest.mark.parametrize("reasoning", [{}, {"reasoning": None}, {"reasoning": ["a", "b"]}])
def test_the_reasoning_may_be_missing(reasoning: dict[str, Any]) -> None:
    found = read_content(json.dumps({"summarization": "A text.", **reasoning}), 10)
    assert found == Profile("A text.", "")


def test_pairs_of_surrogates_are_joined_and_halves_replaced() -> None:
    text = '{"summarization": "a \\ud83d\\ude00 b \\ud83d c", "reasoning": "\\udc00"}'
    assert read_content(text, 10) == Profile("a \U0001f600 b ? c", "?")


def test_the_limit_of_words_is_the_longest_that_is_accepted() -> None:
    for words in (10, 11):
        text = json.dumps({"summarization": "word " * words})
        if words == 10:
            assert len(read_content(text, 10).summarization.split()) == 10
        else:
            assert reason(text) == 'the "summarization" is too long: 11 words'


summaries = st.text(st.characters(codec="utf-8"), max_size=60).filter(
    lambda text: text.split() and text.strip().lower() not in ("none", "null", "n/a")
)


@given(summaries, st.text(max_size=30), st.booleans(), st.sampled_from([None, 2]))
def test_what_is_written_is_read(
    summary: str, reasoning: str, ascii_only: bool, indent: int | None
) -> None:
    content = {"summarization": summary, "reasoning": reasoning}
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    expected = Profile(" ".join(summary.split()), " ".join(reasoning.split()))
    assert read_content(text, 100) == expected


# -- not usable -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, "", "  \n\t", 7, [], {}, True, b"{}", [{"text": "x"}]])
def test_no_text(content: Any) -> None:
    assert reason(content) == "the answer is empty"


@pytest.mark.parametrize(
    "text",
    [
        "Readers of slow novels.",
        "{'summarization': 'single quotes', 'reasoning': ''}",
        json.dumps(GOOD)[:-5],
        json.dumps(GOOD) + " I hope that it helps!",
        json.dumps(GOOD) * 2,
        "Sure! " + json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD)}",
        "```json\n```",
        "\ufeff" + json.dumps(GOOD),
        '{"summarization": "a\nb"}',
        "{" * 50_000,
        "[" * 200_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "9" * 10_000,
        # A pattern that went back and forth over line breaks would take minutes for these.
        "```" + "\n" * 300_000,
        "```json" + " \t" * 200_000,
        "```" * 20_000,
        "```\n" * 20_000 + "x",
        "\x00",
    ],
)
def test_no_json(text: str) -> None:
    assert reason(text) in ("the answer is not valid JSON", "the answer is not a JSON object")


@pytest.mark.parametrize("text", ["[]", "7", "null", '"a text"', json.dumps([GOOD]), "```\n7\n```"])
def test_no_object(text: str) -> None:
    assert reason(text) == "the answer is not a JSON object"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"profile": "x"},
        {"Summarization": "x"},
        {"summarization": None},
        {"summarization": 7},
        {"summarization": ["x"]},
        {"summarization": {"text": "x"}},
    ],
)
def test_no_summarization(content: Any) -> None:
    assert reason(json.dumps(content)) == 'the answer has no text "summarization"'


@pytest.mark.parametrize("text", ["", " ", "\n", "None", "null", "N/A", "\u2003"])
def test_an_empty_summarization(text: str) -> None:
    assert reason(json.dumps({"summarization": text})) == 'the "summarization" is empty'


@given(st.text())
def test_any_text_is_a_profile_or_unusable(text: str) -> None:
    for content in (text, f"```json\n{text}\n```", json.dumps({"summarization": text})):
        with suppress(Unusable):
            found = read_content(content, 5)
            assert 0 < len(found.summarization.split()) <= 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "finish_reason", "refusal", "0", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_body_is_a_profile_or_unusable(body: Any) -> None:
    for response in (body, {"choices": body}, {"choices": [body]}, {"choices": [{"message": body}]},
                     completion(body), completion(json.dumps(GOOD), body)):  # fmt: skip
        with suppress(Unusable):
            assert isinstance(read_response(response, 100), Profile)


@pytest.mark.parametrize(
    "body",
    [None, "", "text", 7, [], {}, {"choices": None}, {"choices": []}, {"choices": [None]},
     {"choices": {}}, {"choices": [{}]}, {"choices": [{"message": None}]},
     {"choices": [{"message": "text"}]}, {"error": {"message": "busy"}}],
)  # fmt: skip
def test_no_chat_completion(body: Any) -> None:
    with pytest.raises(Unusable, match="no chat completion"):
        read_response(body, 10)


def test_a_refusal_and_a_cut_come_before_what_is_said() -> None:
    good = json.dumps(GOOD)
    for body, told in [
        (completion(good, "content_filter"), "the model refused"),
        (completion(None, "stop", refusal="I cannot."), "the model refused"),
        (completion(good, "length"), "the answer was cut off: it is too long"),
        (completion(None, "length"), "the answer was cut off: it is too long"),
    ]:
        with pytest.raises(Unusable) as caught:
            read_response(body, 10)
        assert caught.value.reason == told
    assert read_response(completion(good, None, refusal=None), 10) == PROFILE
    assert read_response({"choices": [{"message": {"content": good}}]}, 10) == PROFILE


# -- kept -----------------------------------------------------------------------------------------


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

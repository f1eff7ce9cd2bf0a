"""What servers say of an error, found in whatever form they say it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.llm.client import explain
from recbole_darec.llm.options import Server
from recbole_darec.llm.words import AnsweredError, error_in, said, words_of

DETAIL = {
    "detail": [
        {
            "type": "extra_forbidden",
            "loc": ["body", "response_format"],
            "msg": "Extra inputs are not permitted",
            "input": {"type": "json_schema", "schema": "too long"},
        },
        {"loc": ["body", 3], "msg": "no"},
    ]
}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "as OpenAI\nsays it", "code": "c"}}, "as OpenAI says it"),
        ({"message": "inside of it"}, "inside of it"),
        ({"error": "a text"}, "a text"),
        ({"message": {"detail": "deeper"}}, "deeper"),
        ({"error": True, "message": "beside it"}, "beside it"),
        ({"detail": "Not Found"}, "Not Found"),
        (DETAIL, "body.response_format: Extra inputs are not permitted; body.3: no"),
        ({"errors": [{"msg": "one"}, "two", 3]}, "one; two"),
        ({"error_code": 336003, "error_msg": "the input is empty"}, "the input is empty"),
        ({"code": 20042, "message": "too many", "data": None}, "too many"),
        ("plain", "plain"),
        (
            "<html><head><style>p { color: red }</style></head><h1>502 Bad Gateway</h1>\n</html>",
            "502 Bad Gateway",
        ),
        ("a < b and b > c", "a < b and b > c"),
        ({"message": 7}, ""),
        ({"error": None, "message": ""}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
        (7, ""),
    ],
)
def test_the_words_of_a_body(body: Any, words: str) -> None:
    assert words_of(body) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(("message", "error", "x")), inner)
    ),
)


@given(JSON)
def test_any_body_has_words_of_one_line_or_none(body: Any) -> None:
    words = words_of(body)
    assert words == " ".join(words.split())
    error_in(body)
    explain(AnsweredError(body if isinstance(body, dict) else {}), Server())


def test_a_body_without_bottom_ends() -> None:
    body: dict[str, Any] = {}
    body["error"] = body
    assert words_of(body) == ""
    assert said(AnsweredError(body)).strip() == ""


def test_what_is_said_leaves_the_echo_of_the_request_out() -> None:
    error = AnsweredError(DETAIL)
    assert "response_format" in said(error)
    assert "extra_forbidden" in said(error)
    assert "too long" not in said(error)
    assert "json_schema" not in said(error)


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        ({"error": {"message": "m", "code": 502}}, 502, "502", "502: m"),
        (
            {"error": {"message": "m", "code": "insufficient_quota"}},
            None,
            "insufficient_quota",
            "m",
        ),
        ({"message": "m", "status": 429}, 429, "None", "429: m"),
        ({"code": 20042, "message": "m"}, None, "20042", "m"),
    ],
)
def test_an_error_in_an_answer(body: Any, status: int | None, code: str, told: str) -> None:
    error = error_in(body)
    assert error is not None
    assert (error.status_code, error.code) == (status, code)
    assert explain(error, Server()) == told


@pytest.mark.parametrize(
    "answer", [{}, {"error": None}, {"choices": []}, "<html>", None, 7, object(), ["error"]]
)
def test_an_answer_that_tells_of_no_error(answer: Any) -> None:
    assert error_in(answer) is None

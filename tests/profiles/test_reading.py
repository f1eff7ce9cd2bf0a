"""Answers: what is a profile and what is not, whatever stands around it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.profiles.reading import (
    Profile,
    Unusable,
    read_content,
    read_response,
    thought_in,
)

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


def why(body: Any) -> str:
    with pytest.raises(Unusable) as caught:
        read_response(body, 10)
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
        json.dumps({**GOOD, "summarization": ["Readers of", "slow novels."]}),
        json.dumps({**GOOD, "reasoning": ["The", "title."]}),
        "{'summarization': 'Readers of slow novels.', 'reasoning': 'The title.'}",
        str({**GOOD, "other": [None, True, "it's"]}),
        json.dumps(GOOD) + " I hope that it helps!",
        json.dumps(GOOD) * 2,
        "Sure! " + json.dumps(GOOD),
        "A reader of {quiet} {books}: " + json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD)}",
        f"~~~\n{json.dumps(GOOD)}\n~~~",
        "\ufeff" + json.dumps(GOOD),
        json.dumps(GOOD)[:-1] + ",}",
        json.dumps(GOOD)[:-1],
        '{summarization: "Readers of slow novels.", reasoning: "The title."}',
        '{"summarization": "Readers of\nslow novels.", "reasoning": "The\ttitle."}',
        json.dumps([GOOD]),
        json.dumps(json.dumps(GOOD)),
        json.dumps({"profile": GOOD}),
        json.dumps({"answers": [{"profile": GOOD}], "n": 1}),
        '{"Summarization": "Readers of slow novels.", "Reasoning ": "The title."}',
        'Draft: {"title": "x"}. Answer: ' + json.dumps(GOOD) + "<|im_end|>",
    ],
)
def test_a_usable_answer(text: str) -> None:
    assert read_content(text, 10) == PROFILE
    assert read_response(completion(text), 10) == PROFILE


def test_a_fence_inside_the_json_is_text() -> None:
    text = json.dumps({"summarization": "Likes ```code``` books.", "reasoning": "a\n```\nb\n```\n"})
    assert read_content(text, 10) == Profile("Likes ```code``` books.", "a ``` b ```")


THOUGHTS = "The titles {suggest} a \"taste\": {'summarization': 'no', \"x\": 1}, or so."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<think>", "</think>"),
        ("", "</think>\n\n"),  # the opening tag stood in the prompt
        ("<think>\n", "\n</think>\n<think>more</think>"),
        ("<THINKING>", "</Thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<unused94>thought\n", "<unused95>"),
        ("<|channel>thought\n", "<channel|>"),
        (
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>",
        ),
    ],
)
def test_what_stands_after_the_thoughts_is_the_answer(before: str, after: str) -> None:
    for good in (json.dumps(GOOD), f"```json\n{json.dumps(GOOD)}\n```"):
        text = f"{before}{THOUGHTS}{after}{good}"
        assert read_content(text, 10) == PROFILE
        assert thought_in(completion(text))
        assert not before or thought_in(completion(before + THOUGHTS, "length"))


def test_tags_within_the_json_are_text() -> None:
    text = json.dumps({"summarization": "Likes <think>ing</think> aloud.", "reasoning": ""})
    assert read_content(text, 10).summarization == "Likes <think>ing</think> aloud."


def test_an_empty_block_of_thoughts_is_none() -> None:
    assert not thought_in(completion("<think>\n\n</think>\n\n" + json.dumps(GOOD)))
    assert not thought_in(completion(json.dumps(GOOD), reasoning_content="", reasoning=None))
    assert not thought_in(completion(json.dumps(GOOD)))
    assert not thought_in({"usage": {"completion_tokens_details": {"reasoning_tokens": 9}}})


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": json.dumps(GOOD)}],
        [{"type": "output_text", "text": json.dumps(GOOD), "annotations": []}],
        [{"text": json.dumps(GOOD)}],
        [json.dumps(GOOD)],
        {"type": "text", "text": json.dumps(GOOD)},
        GOOD,
        [
            {"type": "text", "text": json.dumps(GOOD)[:20]},
            {"type": "text", "text": json.dumps(GOOD)[20:]},
        ],
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHTS}]},
            {"type": "text", "text": json.dumps(GOOD)},
        ],
        [{"type": "reasoning", "text": THOUGHTS}, {"type": "text", "text": json.dumps(GOOD)}],
        [{"text": THOUGHTS, "thought": True}, {"text": json.dumps(GOOD)}],
        [{"type": "image_url", "image_url": {}}, None, 7, {"text": json.dumps(GOOD)}],
    ],
)
def test_a_content_in_parts(content: Any) -> None:
    assert read_response(completion(content), 10) == PROFILE
    assert thought_in(completion(content)) == ("suggest" in json.dumps(content))


@pytest.mark.parametrize(
    "beside",
    [
        {"reasoning_content": json.dumps(GOOD)},
        {"reasoning": json.dumps(GOOD)},
        {"thinking": json.dumps(GOOD)},
        {"reasoning_details": [{"type": "reasoning.text", "text": json.dumps(GOOD)}]},
    ],
)
def test_thoughts_beside_the_answer_are_never_the_answer(beside: dict[str, Any]) -> None:
    other = {"summarization": "Another one.", "reasoning": ""}
    assert read_response(completion(json.dumps(other), **beside), 10) == Profile("Another one.", "")
    for finish, told in [
        ("stop", "the answer is empty beside the model's thoughts"),
        ("length", "the answer was cut off in the model's thoughts: it is too long"),
        ("max_tokens", "the answer was cut off in the model's thoughts: it is too long"),
    ]:
        for content in (None, "", [], "  "):
            assert why(completion(content, finish, **beside)) == told


def test_thoughts_that_are_counted_alone_are_known() -> None:
    body = completion("", "length")
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 500}
    assert why(body) == "the answer was cut off in the model's thoughts: it is too long"


def test_thoughts_without_an_end() -> None:
    body = completion(f"<think>{json.dumps(GOOD)}", "length")
    assert why(body) == "the answer was cut off in the model's thoughts: it is too long"
    body = completion(f"<think>{json.dumps(GOOD)}</think>")
    assert why(body) == "the answer is empty beside the model's thoughts"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD) + json.dumps({**GOOD, "summarization": "Another one."}),
        '{"summarization": "one", "summarization": "two"}',
        '{"summarization": "one", "Summarization": "two"}',
        json.dumps([GOOD, {"summarization": "Another one."}]),
        f"Not {json.dumps({'summarization': 'A draft.'})} but\n```json\n{json.dumps(GOOD)}\n```",
    ],
)
def test_of_several_readings_none_is_chosen(text: str) -> None:
    assert reason(text) == "the answer holds several profiles"


def test_a_tool_that_was_called_is_no_answer() -> None:
    body = completion(None, "tool_calls", tool_calls=[{"function": {"name": "f"}}])
    assert why(body) == "the model called a tool instead of answering"


@pytest.mark.parametrize(
    ("reasoning", "told"),
    [
        ({}, ""),
        ({"reasoning": None}, ""),
        ({"reasoning": ["a", "b"]}, "a b"),
        ({"reasoning": 7}, ""),
    ],
)
def test_the_reasoning_may_be_missing(reasoning: dict[str, Any], told: str) -> None:
    found = read_content(json.dumps({"summarization": "A text.", **reasoning}), 10)
    assert found == Profile("A text.", told)


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


@pytest.mark.parametrize(
    "content", [None, "", "  \n\t", 7, [], {}, True, b"{}", [7], [{"type": "image_url"}]]
)
def test_no_text(content: Any) -> None:
    assert reason(content) == "the answer is empty"


@pytest.mark.parametrize(
    "text",
    [
        "Readers of slow novels.",
        json.dumps(GOOD)[:-5],
        "```json\n```",
        # Each could be read in more ways than one.
        '{"summarization": "Likes "slow" novels.", "reasoning": ""}',
        '{"summarization": "Likes novels.", "reasoning": "He said "x", "y""}',
        "{'summarization': 'It's slow.', 'reasoning': ''}",
        '{"summarization": "a" "b"}',
        '{"summarization": "a", "reasoning"}',
        '{"summarization": "a"; "reasoning": "b"}',
        '{"summarization": "a"]',
        '{"summarization": "Likes slow nov',
        '{"summarization": "a", "reasoning":',
        '{"summarization": ' * 3000 + "'",
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


@pytest.mark.parametrize("text", ["[]", "7", "null", '"a text"', "[1, []]"])
def test_no_object(text: str) -> None:
    assert reason(text) == "the answer is not a JSON object"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"profile": "x"},
        {"summarization": None},
        {"summarization": 7},
        {"summarization": []},
        {"summarization": ["x", 7]},
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
        (completion(good[:-1], "length"), "the answer was cut off: it is too long"),
        (completion(good[:-1] + ", \n\n\n", "length"), "the answer was cut off: it is too long"),
        (completion(None, "length"), "the answer was cut off: it is too long"),
    ]:
        with pytest.raises(Unusable) as caught:
            read_response(body, 10)
        assert caught.value.reason == told
    assert read_response(completion(good, None, refusal=None), 10) == PROFILE
    # A model that is held to JSON may go on with blanks until it is cut off.
    assert read_response(completion(good + " \n\t" * 200, "length"), 10) == PROFILE
    assert read_response({"choices": [{"message": {"content": good}}]}, 10) == PROFILE

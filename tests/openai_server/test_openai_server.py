"""The loopback server, with the official client (and bare sockets) as the other side."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import KINDS, Fault, Plan, Server, answer_for, prompt_hash, serve, serve_process, vector_for
from .load import drive, request_bytes
from .plan import CONTENT_KINDS, DELIVERY_KINDS, SILENT_KINDS, STATUS_KINDS, VECTOR_KINDS, unit
from .record import peak_in_window
from .wire import parse_multipart

MODEL, EMBEDDER = "gpt-3.5-turbo", "text-embedding-3-small"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"summarization": {"type": "string"}, "reasoning": {"type": "string"}},
    "required": ["summarization", "reasoning"],
    "additionalProperties": False,
}


def client_of(base_url: str, **more: Any) -> openai.AsyncOpenAI:
    # Loading the certificates takes longer than most tests, and loopback has no TLS.
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    given = {"api_key": "x", "max_retries": 0, "timeout": 20.0, **more}
    return openai.AsyncOpenAI(base_url=base_url, http_client=plain, **given)


def talk(server: Server, work: Callable[[openai.AsyncOpenAI], Coroutine], **more: Any) -> Any:
    """Run ``work(client)`` against the server."""

    async def run() -> Any:
        async with client_of(server.base_url, **more) as client:
            return await work(client)

    return asyncio.run(run())


async def ask(client: openai.AsyncOpenAI, prompt: str, **more: Any) -> Any:
    messages = [{"role": "system", "content": "Answer with JSON."}]
    messages.append({"role": "user", "content": prompt})
    return await client.chat.completions.create(**{"model": MODEL, "messages": messages, **more})


def faulty(kind: str, **more: Any) -> Plan:
    """A plan in which ``kind`` strikes the first attempt of each prompt."""
    return Plan(faults=(Fault(kind),), **more)


def content_of(answer: Any) -> Any:
    return json.loads(answer.choices[0].message.content)


# Chat ------------------------------------------------------------------------------------------


def test_each_answer_belongs_to_its_prompt_and_counts_its_words() -> None:
    prompts = [f"item {n}: ünï “text”\n{n}" for n in range(40)]

    async def work(client: openai.AsyncOpenAI) -> list[Any]:
        return await asyncio.gather(*(ask(client, prompt) for prompt in prompts))

    with serve() as server:
        answers = talk(server, work)
    assert [content_of(a) for a in answers] == [answer_for(prompt) for prompt in prompts]
    assert len({content_of(a)["summarization"] for a in answers}) == len(prompts)
    for answer in answers:
        assert answer.usage.prompt_tokens == 3 + 5
        assert answer.usage.completion_tokens == len(answer.choices[0].message.content.split())
    assert server.log.paid_by_prompt == Counter(map(prompt_hash, prompts))
    assert server.log.prompt_tokens == 8 * 40


STATUS_ERRORS = {
    "rate_limit": (openai.RateLimitError, "rate_limit_exceeded"),
    "insufficient_quota": (openai.RateLimitError, "insufficient_quota"),
    "server_error": (openai.InternalServerError, None),
    "unavailable": (openai.InternalServerError, None),
    "model_not_found": (openai.NotFoundError, "model_not_found"),
    "wrong_key": (openai.AuthenticationError, "invalid_api_key"),
}


@pytest.mark.parametrize("kind", STATUS_KINDS)
def test_a_status_fault_is_the_clients_exception_and_clears(kind: str) -> None:
    async def work(client: openai.AsyncOpenAI) -> tuple[openai.APIStatusError, Any]:
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client, "a prompt")
        return caught.value, await ask(client, "a prompt")

    with serve(faulty(kind)) as server:
        error, answer = talk(server, work)
    expected, code = STATUS_ERRORS[kind]
    assert type(error) is expected
    assert error.code == code
    assert error.status_code == {"unavailable": 503, "server_error": 500}.get(
        kind, error.status_code
    )
    assert content_of(answer) == answer_for("a prompt")
    assert server.log.faults == {kind: 1}
    assert server.log.paid == {"chat": 1}


def test_a_fault_for_ever_stays_and_one_of_two_attempts_is_mended_by_the_clients_retry() -> None:
    async def twice(client: openai.AsyncOpenAI) -> Any:
        return await ask(client, "a prompt")

    plan = Plan(faults=(Fault("rate_limit", attempts=2),), retry_after_s=0.02)
    with serve(plan) as server:
        assert content_of(talk(server, twice, max_retries=2)) == answer_for("a prompt")
        assert server.log.requests == {"chat": 3}
    with serve(Plan(faults=(Fault("rate_limit", attempts=None),), retry_after_s=0.01)) as server:
        with pytest.raises(openai.RateLimitError):
            talk(server, twice, max_retries=4)
        assert server.log.requests == {"chat": 5}
        assert server.log.paid == {}


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("both", {"retry-after": "1.5", "retry-after-ms": "1500"}),
        ("seconds", {"retry-after": "1.5"}),
        ("ms", {"retry-after-ms": "1500"}),
        ("none", {}),
    ],
)
@pytest.mark.parametrize("kind", ["rate_limit", "unavailable"])
def test_retry_after_is_told_in_each_form(kind: str, form: str, names: dict[str, str]) -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client, "a prompt")
        return caught.value.response.headers

    with serve(faulty(kind, retry_after=form, retry_after_s=1.5)) as server:
        headers = talk(server, work)
    told = {name: headers[name] for name in ("retry-after", "retry-after-ms") if name in headers}
    assert told == names


def test_retry_after_as_a_date_is_an_http_date() -> None:
    async def work(client: openai.AsyncOpenAI) -> str:
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(client, "a prompt")
        return str(caught.value.response.headers["retry-after"])

    with serve(faulty("rate_limit", retry_after="date", retry_after_s=3600)) as server:
        told = talk(server, work)
    assert time.strptime(told, "%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize("kind", ["drop", "drop_mid_body"])
def test_a_lost_connection_is_a_connection_error_and_unpaid(kind: str) -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(openai.APIConnectionError):
            await ask(client, "a prompt")
        return await ask(client, "a prompt")

    with serve(faulty(kind)) as server:
        assert content_of(talk(server, work)) == answer_for("a prompt")
        assert server.log.paid == {"chat": 1}
        assert server.log.faults == {kind: 1}


def test_half_of_the_body_arrives_before_the_connection_drops() -> None:
    with serve(faulty("drop_mid_body")) as server:
        raw = exchange(server, chat_request("a prompt"))
    head, _, body = raw.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == length // 2 > 0


def test_a_silent_server_runs_into_the_clients_time_out_and_notices_that_it_went() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(openai.APITimeoutError):
            await ask(client, "a prompt")
        return await ask(client, "a prompt", timeout=20)

    with serve(faulty("hang", hang_s=60)) as server:
        assert content_of(talk(server, work, timeout=0.3)) == answer_for("a prompt")
        assert server.log.abandoned == 1
        assert server.log.paid == {"chat": 1}


def test_slow_bytes_come_in_chunks_and_are_right() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": "a prompt"}]
        )
        return raw.headers, raw.parse()

    with serve(faulty("slow", slow_s=0.1)) as server:
        headers, answer = talk(server, work)
        assert server.log.paid == {"chat": 1}
    assert headers["transfer-encoding"] == "chunked"
    assert content_of(answer) == answer_for("a prompt")


def test_answers_overtake_each_other_by_plan() -> None:
    prompts = [f"prompt {n}" for n in range(6)]
    plan = Plan(
        seed=3, faults=(Fault("delay"),), delay_s=0.6, script=((prompts[0], ("", "delay")),)
    )

    async def work(client: openai.AsyncOpenAI) -> list[str]:
        order: list[str] = []

        async def one(prompt: str) -> None:
            assert content_of(await ask(client, prompt)) == answer_for(prompt)
            order.append(prompt)

        await asyncio.gather(*map(one, prompts))
        return order

    with serve(plan) as server:
        order = talk(server, work)
        assert server.log.faults == {"delay": 5}
    assert sorted(order) == prompts
    planned = sorted(prompts[1:], key=lambda p: unit(3, "wait", prompt_hash(p), 1))
    # The longest and the shortest wait are far enough apart for any machine.
    assert order.index(planned[0]) < order.index(planned[-1])


def test_bodies_that_are_no_json() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(json.JSONDecodeError):
            await ask(client, "one")
        return await ask(client, "two")

    plan = Plan(script=(("one", ("bad_body",)), ("two", ("html_body",))))
    with serve(plan) as server:
        assert "<html>" in talk(server, work)
        assert server.log.statuses == {200: 2}
        assert server.log.paid == {}


def test_an_error_may_come_with_status_200() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        return await client.embeddings.create(
            model="text-embedding-ada-002", input=["a"], encoding_format="base64"
        )

    with serve(faulty("error_body")) as server:
        answer = talk(server, work)
        assert answer.error == {
            "message": "the model behind the gateway is out of memory",
            "code": 502,
        }
        assert not hasattr(answer, "data") or not answer.data
        assert server.log.statuses == {200: 1}
        assert server.log.paid == {}


NO_MODEL = "The model `none` does not exist or you do not have access to it."


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("text", {"error": NO_MODEL}),
        ("nested", {"message": {"detail": NO_MODEL, "code": 404}}),
        ("plain", NO_MODEL),
    ],
)
def test_an_error_may_have_another_form(form: str, body: Any) -> None:
    with serve(Plan(error_form=form)) as server, pytest.raises(openai.NotFoundError) as caught:
        talk(server, lambda client: ask(client, "a prompt", model="none"))
    answer = caught.value.response
    assert (answer.text if form == "plain" else answer.json()) == body


def test_an_error_may_have_fastapis_form() -> None:
    with serve(Plan(error_form="detail")) as server, pytest.raises(openai.NotFoundError) as caught:
        talk(server, lambda client: ask(client, "a prompt", model="none"))
    (told,) = caught.value.response.json()["detail"]
    assert (told["loc"], told["msg"]) == (["body", "model"], NO_MODEL)
    assert "input" in told


def test_usage_may_be_missing() -> None:
    with serve(faulty("missing_usage")) as server:
        answer = talk(server, lambda client: ask(client, "a prompt"))
        assert server.log.prompt_tokens == 5
    assert answer.usage is None
    assert content_of(answer) == answer_for("a prompt")


def no_json(text: str | None) -> bool:
    try:
        json.loads(text or "")
    except ValueError:
        return True
    return False


CONTENT_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "truncated": lambda c, t: c.finish_reason == "length" and bool(t) and no_json(t),
    "prose": lambda c, t: bool(t) and no_json(t),
    "fenced": lambda c, t: "```json" in t and json.loads(t.split("```")[1][4:]) == answer_for("p"),
    "single_quotes": lambda c, t: "'summarization': '" in t and no_json(t),
    "wrong_keys": lambda c, t: "summarization" not in json.loads(t),
    "wrong_type": lambda c, t: isinstance(json.loads(t)["summarization"], list),
    "empty": lambda c, t: t == "" and c.finish_reason == "stop",
    "null_content": lambda c, t: t is None and c.message.refusal is None,
    "refusal": lambda c, t: t is None and "sorry" in c.message.refusal,
    "content_filter": lambda c, t: t is None and c.finish_reason == "content_filter",
    "too_long": lambda c, t: len(json.loads(t)["summarization"].split()) == 500,
    "think_tags": lambda c, t: json.loads(t.split("</think>")[1]) == answer_for("p"),
    "parts": lambda c, t: json.loads(t[1]["text"]) == answer_for("p"),
    "reasoning_beside": lambda c, t: json.loads(t) == answer_for("p") and thoughts_of(c) != t,
    "only_thoughts": lambda c, t: t is None and json.loads(thoughts_of(c)) == answer_for("p"),
    "cut_in_thoughts": lambda c, t: t is None and c.finish_reason == "length" and thoughts_of(c),
}


def thoughts_of(choice: Any) -> str:
    return choice.message.reasoning_content


def test_every_kind_of_content_fault_arrives_is_paid_and_clears() -> None:
    kinds = list(CONTENT_CHECKS)
    assert {*kinds, "no_choices"} == set(CONTENT_KINDS)
    for kind in kinds:
        with serve(faulty(kind, long_words=500)) as server:

            async def work(client: openai.AsyncOpenAI) -> Any:
                return await ask(client, "p"), await ask(client, "p")

            wrong, right = talk(server, work)
            assert server.log.paid == {"chat": 2}
        choice = wrong.choices[0]
        assert CONTENT_CHECKS[kind](choice, choice.message.content), kind
        assert content_of(right) == answer_for("p")


def test_choices_may_be_none() -> None:
    with serve(faulty("no_choices")) as server:
        answer = talk(server, lambda client: ask(client, "p"))
    assert answer.choices == []
    assert answer.usage.completion_tokens == 0


def test_a_second_try_with_the_reason_added_is_the_same_prompt() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        first = await ask(client, "p")
        messages = [
            {"role": "user", "content": "p"},
            {"role": "assistant", "content": first.choices[0].message.content},
            {"role": "user", "content": "That was no JSON."},
        ]
        return first, await ask(client, "p", messages=messages)

    with serve(faulty("prose")) as server:
        first, second = talk(server, work)
        assert server.log.attempts == {prompt_hash("p"): 2}
    assert no_json(first.choices[0].message.content)
    assert content_of(second) == answer_for("p")


def test_a_schema_is_followed() -> None:
    schema = {
        "type": "object",
        "properties": {
            **SCHEMA["properties"],
            "rating": {"type": "integer"},
            "mood": {"enum": ["good", "bad"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    }
    form = {"type": "json_schema", "json_schema": {"name": "profile", "schema": schema}}
    with serve() as server:
        answer = content_of(talk(server, lambda c: ask(c, "p", response_format=form)))
    assert answer["summarization"] == answer_for("p")["summarization"]
    assert isinstance(answer["rating"], int)
    assert answer["mood"] in {"good", "bad"}
    assert [type(tag) for tag in answer["tags"]] == [str]


@pytest.mark.parametrize(
    ("structured", "asked", "works"),
    [
        ("json_schema", "json_schema", True),
        ("json_schema", "json_object", True),
        ("json_object", "json_schema", False),
        ("json_object", "json_object", True),
        ("none", "json_schema", False),
        ("none", "json_object", False),
        ("none", "text", True),
    ],
)
def test_structured_output_is_refused_where_the_plan_has_none(
    structured: str, asked: str, works: bool
) -> None:
    form: dict[str, Any] = {"type": asked}
    if asked == "json_schema":
        form["json_schema"] = {"name": "profile", "strict": True, "schema": SCHEMA}
    with serve(Plan(structured=structured)) as server:
        if works:
            answer = talk(server, lambda c: ask(c, "p", response_format=form))
            assert content_of(answer) == answer_for("p")
            return
        with pytest.raises(openai.BadRequestError) as caught:
            talk(server, lambda c: ask(c, "p", response_format=form))
        assert caught.value.param == "response_format"
        assert caught.value.code == "unsupported_parameter"
        assert server.log.paid == {}


NOT_STRICT = {**SCHEMA, "additionalProperties": True}
NOT_REQUIRED = {**SCHEMA, "required": ["reasoning"]}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"unsupported": "x", "max_tokens": 5}, "Unsupported parameter: 'max_tokens'"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 60}]}, "maximum context length"),
        ({"model": "gpt-9"}, "`gpt-9` does not exist"),
        ({"n": 1000}, "Invalid 'n'"),
        ({"max_completion_tokens": "ten"}, "Invalid 'max_completion_tokens'"),
        (
            {
                "messages": [{"role": "user", "content": "no such word"}],
                "response_format": {"type": "json_object"},
            },
            "must contain the word 'json'",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json_schema.name"),
        *(
            (
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "x", "strict": True, "schema": schema},
                    }
                },
                said,
            )
            for schema, said in (
                (NOT_STRICT, "'additionalProperties' is required"),
                (NOT_REQUIRED, "'required' is required"),
            )
        ),
        ({"response_format": {"type": "xml"}}, "Invalid value: 'xml'"),
    ],
)
def test_wrong_chat_requests_are_told(more: dict[str, Any], said: str) -> None:
    more = {name: value for name, value in more.items() if name != "unsupported"}
    with serve(Plan(unsupported=("max_tokens",), context_tokens=50)) as server:
        with pytest.raises(openai.APIStatusError, match=said):
            talk(server, lambda c: ask(c, "p", **more))
        assert server.log.paid == {}


def test_max_tokens_cuts_the_answer() -> None:
    with serve() as server:
        answer = talk(server, lambda c: ask(c, "p", max_tokens=3, n=2))
    assert len(answer.choices) == 2
    for choice in answer.choices:
        assert choice.finish_reason == "length"
        assert len(choice.message.content.split()) == 3


# Keys ------------------------------------------------------------------------------------------


def test_the_key_is_checked_and_never_logged(tmp_path: Path) -> None:
    log = tmp_path / "paid.jsonl"
    with serve(Plan(key="sk-right-key-1"), log) as server:
        assert talk(server, lambda c: ask(c, "p"), api_key="sk-right-key-1").choices
        with pytest.raises(openai.AuthenticationError) as caught:
            talk(server, lambda c: ask(c, "p"), api_key="sk-wrong-key-9")
        assert "sk-wrong-key-9" not in str(caught.value)
        server.plan = Plan(key="sk-right-key-1", echo_key=True)
        with pytest.raises(openai.AuthenticationError, match="sk-wrong-key-9"):
            talk(server, lambda c: ask(c, "p"), api_key="sk-wrong-key-9")
        assert "sk-" not in json.dumps(server.log.summary())
    assert "sk-" not in log.read_text()


@pytest.mark.parametrize(
    "header", ["", "Authorization: Basic eDp5\r\n", "Authorization: Bearer\r\n"]
)
def test_without_a_bearer_there_is_no_answer(header: str) -> None:
    with serve() as server:
        raw = exchange(
            server, f"GET /v1/models HTTP/1.1\r\n{header}Connection: close\r\n\r\n".encode()
        )
    assert raw.startswith(b"HTTP/1.1 401 ")


# Embeddings ------------------------------------------------------------------------------------

TEXTS = ["one", "zwei zwei", "ünï 🎲", "one", "a longer text of six words"]


async def embed(client: openai.AsyncOpenAI, texts: Any = TEXTS, **more: Any) -> Any:
    return await client.embeddings.create(**{"model": EMBEDDER, "input": texts, **more})


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_embeddings_are_unit_vectors_of_their_texts_in_their_order(form: str | None) -> None:
    more = {} if form is None else {"encoding_format": form}
    with serve(Plan(embedding_models={EMBEDDER: 48})) as server:
        answer = talk(server, lambda c: embed(c, **more))
        assert server.log.embedded[prompt_hash("one")] == 2
    assert [row.index for row in answer.data] == list(range(len(TEXTS)))
    rows = [row.embedding for row in answer.data]
    if form == "base64":
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    vectors = np.array(rows, dtype=np.float32)
    np.testing.assert_array_equal(vectors, [vector_for(text, 48) for text in TEXTS])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    assert len(np.unique(vectors, axis=0)) == len(set(TEXTS))
    assert answer.usage.prompt_tokens == sum(len(text.split()) for text in TEXTS)


def test_fewer_dimensions_are_the_first_ones_at_length_one() -> None:
    with serve(Plan(embedding_models={EMBEDDER: 48}, fixed_width=())) as server:
        answer = talk(server, lambda c: embed(c, "one", dimensions=8))
    whole = vector_for("one", 48)[:8]
    np.testing.assert_allclose(
        answer.data[0].embedding, whole / np.linalg.norm(whole), rtol=0, atol=1e-6
    )


def test_token_numbers_are_a_text_too() -> None:
    with serve(Plan(embedding_models={EMBEDDER: 8})) as server:
        answer = talk(server, lambda c: embed(c, [[1, 2, 3], [4]]))
        single = talk(server, lambda c: embed(c, [1, 2, 3]))
    assert answer.usage.prompt_tokens == 4
    np.testing.assert_allclose(answer.data[0].embedding, vector_for((1, 2, 3), 8), atol=1e-7)
    np.testing.assert_allclose(single.data[0].embedding, vector_for((1, 2, 3), 8), atol=1e-7)


@pytest.mark.parametrize(
    ("texts", "more", "said"),
    [
        (["a b c d e f"], {}, "maximum context length is 5 tokens, however you requested 6"),
        (["a"] * 4, {}, "at most 3"),
        (["a b c", "a b c", "a b"], {}, "max 7 tokens per request"),
        ([""], {}, "empty or wrong"),
        ([], {}, "input"),
        (["a"], {"dimensions": 4, "model": "text-embedding-ada-002"}, "does not support"),
        (["a"], {"dimensions": 4000}, "must be from 1 to"),
        (["a"], {"model": "nothing"}, "does not exist"),
    ],
)
def test_wrong_embedding_requests_are_told(texts: Any, more: Any, said: str) -> None:
    with serve(Plan(max_input_tokens=5, max_inputs=3, max_request_tokens=7)) as server:
        with pytest.raises(openai.APIStatusError, match=said) as caught:
            talk(server, lambda c: embed(c, texts, **more))
        assert caught.value.status_code in {400, 404}
        assert server.log.paid == {}


def test_faults_of_embeddings() -> None:
    texts = [f"text {n}" for n in range(20)]
    plan = Plan(embedding_models={EMBEDDER: 8}, faults=(Fault("shuffled"),))
    with serve(plan) as server:
        answer = talk(server, lambda c: embed(c, texts))
        indexes = [row.index for row in answer.data]
        assert indexes != sorted(indexes) == list(range(20))
        for row in answer.data:
            np.testing.assert_allclose(row.embedding, vector_for(texts[row.index], 8), atol=1e-7)
        server.plan = Plan(faults=(Fault("short_list", attempts=None),))
        assert len(talk(server, lambda c: embed(c, texts)).data) == 19
        server.plan = faulty("rate_limit")
        with pytest.raises(openai.RateLimitError):
            talk(server, lambda c: embed(c, ["another text"]))


# Models, files, batches ------------------------------------------------------------------------


def test_models_are_listed_and_found() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nothing")
        return [m.id async for m in client.models.list()], await client.models.retrieve("org/m")

    with serve(Plan(models=("org/m",), embedding_models={"e": 4})) as server:
        names, one = talk(server, work)
    assert names == ["org/m", "e"]
    assert one.id == "org/m"


@given(content=st.binary(max_size=400), name=st.text("abc.-_ ", min_size=1, max_size=12))
def test_a_form_gives_back_the_bytes_of_its_file(content: bytes, name: str) -> None:
    boundary = "b0undary"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content
    parts = parse_multipart(
        f"multipart/form-data; boundary={boundary}", body + f"\r\n--{boundary}--\r\n".encode()
    )
    assert [part.name for part in parts] == ["purpose", "file"]
    assert parts[0].content == b"batch"
    assert parts[1].content == content


def batch_lines(prompts: list[str], **more: Any) -> bytes:
    lines = [
        {
            "custom_id": f"id-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": prompt}],
            },
            **more,
        }
        for n, prompt in enumerate(prompts)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


async def start_batch(client: openai.AsyncOpenAI, content: bytes, endpoint: str = "") -> Any:
    file = await client.files.create(file=("in.jsonl", content), purpose="batch")
    assert (await client.files.content(file.id)).content == content
    return await client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint or "/v1/chat/completions",  # type: ignore[arg-type]
        completion_window="24h",
        metadata={"run": "7"},
    )


ENDS = {"completed", "failed", "expired", "cancelled"}


async def finish(client: openai.AsyncOpenAI, batch_id: str) -> tuple[Any, list[str]]:
    """(the batch at its end, the states that it went through)."""
    states: list[str] = []
    for _ in range(50):
        batch = await client.batches.retrieve(batch_id)
        if not states or states[-1] != batch.status:
            states.append(batch.status)
        if batch.status in ENDS:
            return batch, states
    raise AssertionError(states)


async def rows_of(client: openai.AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    text = (await client.files.content(file_id)).text
    return [json.loads(line) for line in text.splitlines()]


def run_batch(server: Server, content: bytes, endpoint: str = "") -> tuple[Any, Any, Any, Any]:
    """(the batch, its states, its output, its errors)."""

    async def work(client: openai.AsyncOpenAI) -> Any:
        made = await start_batch(client, content, endpoint)
        assert made.status == "validating"
        batch, states = await finish(client, made.id)
        output = await rows_of(client, batch.output_file_id)
        return batch, states, output, await rows_of(client, batch.error_file_id)

    return talk(server, work)


PROMPTS = [f"prompt {n}" for n in range(30)]


def test_a_batch_answers_all_lines_in_another_order(tmp_path: Path) -> None:
    log = tmp_path / "paid.jsonl"
    with serve(Plan(batch_polls=(2, 3, 1)), log) as server:
        batch, states, output, errors = run_batch(server, batch_lines(PROMPTS))
        assert server.log.requests["batches"] == 1 + 2 + 3 + 1 + 1
        assert server.log.paid == {"chat": 30}
        # A look at a batch that has ended pays nothing again.
        talk(server, lambda c: c.batches.retrieve(batch.id))
        assert server.log.paid == {"chat": 30}
    assert states == ["validating", "in_progress", "finalizing", "completed"]
    assert errors == []
    assert batch.error_file_id is None
    assert batch.metadata == {"run": "7"}
    assert (batch.request_counts.completed, batch.request_counts.total) == (30, 30)
    ids = [row["custom_id"] for row in output]
    assert ids != sorted(ids, key=lambda i: int(i[3:]))
    for row in output:
        said = row["response"]["body"]["choices"][0]["message"]["content"]
        assert json.loads(said) == answer_for(PROMPTS[int(row["custom_id"][3:])])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["batch"] for line in lines} == {batch.id}


def test_faults_of_a_batch_are_lines_of_its_two_files() -> None:
    plan = Plan(
        script=((PROMPTS[3], ("server_error",)), (PROMPTS[4], ("refusal",)), ("7", ("drop",)))
    )
    with serve(plan) as server:
        batch, _, output, errors = run_batch(server, batch_lines(PROMPTS[:10]))
    assert {row["custom_id"]: row["response"]["status_code"] for row in errors} == {
        "id-3": 500,
        "id-7": 500,
    }
    assert len(output) == 8
    assert batch.request_counts.failed == 2
    refused = next(row for row in output if row["custom_id"] == "id-4")
    assert refused["response"]["body"]["choices"][0]["message"]["refusal"]


def test_a_batch_of_embeddings() -> None:
    lines = b"".join(
        json.dumps(
            {
                "custom_id": text,
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": EMBEDDER, "input": text},
            }
        ).encode()
        + b"\n"
        for text in ("a", "b")
    )
    with serve(Plan(embedding_models={EMBEDDER: 8})) as server:
        _, _, output, _ = run_batch(server, lines, "/v1/embeddings")
    for row in output:
        vector = row["response"]["body"]["data"][0]["embedding"]
        np.testing.assert_allclose(vector, vector_for(row["custom_id"], 8), atol=1e-7)


def test_the_first_batch_expires_and_the_second_is_completed() -> None:
    with serve(Plan(batch_outcomes=("expired",), expired_share=0.4)) as server:
        batch, _, output, errors = run_batch(server, batch_lines(PROMPTS))
        assert batch.status == "expired"
        assert server.log.paid == {"chat": 18}
        assert (len(output), len(errors)) == (18, 12)
        assert {row["error"]["code"] for row in errors} == {"batch_expired"}
        left = [PROMPTS[int(row["custom_id"][3:])] for row in errors]
        again, _, output, _ = run_batch(server, batch_lines(left))
        assert again.status == "completed"
        assert len(output) == 12
        assert set(server.log.paid_by_prompt.values()) == {1}


def test_a_batch_fails_by_plan_or_by_wrong_lines() -> None:
    with serve(Plan(batch_outcomes=("failed",))) as server:
        batch, _, _, _ = run_batch(server, batch_lines(["p"]))
        assert batch.status == "failed"
        assert batch.errors.data[0].message == "The batch failed as planned."
        wrong = batch_lines(["p", "q"]) + batch_lines(["r"]) + b"no json\n[]\n"
        batch, states, output, errors = run_batch(server, wrong)
        assert states[-1] == "failed"
        assert [(e.code, e.line) for e in batch.errors.data] == [
            ("duplicate_custom_id", 3),
            ("invalid_json_line", 4),
            ("invalid_json_line", 5),
        ]
        assert (output, errors) == ([], [])
        batch, _, _, _ = run_batch(server, batch_lines(["p"], url="/v1/embeddings"))
        assert batch.errors.data[0].code == "invalid_url"
        batch, _, _, _ = run_batch(server, b"\n")
        assert batch.errors.data[0].code == "empty_file"
        assert server.log.paid == {}


def test_a_batch_is_cancelled_once() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        made = await start_batch(client, batch_lines(PROMPTS))
        for _ in range(2):
            await client.batches.retrieve(made.id)
        assert (await client.batches.cancel(made.id)).status == "cancelling"
        batch, _ = await finish(client, made.id)
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(made.id)
        return batch, await rows_of(client, batch.output_file_id)

    with serve() as server:
        batch, output = talk(server, work)
        assert server.log.paid == {"chat": len(output)}
    assert batch.status == "cancelled"
    assert len(output) == 15


def test_batches_and_files_are_listed_in_pages_and_deleted() -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        made = [(await start_batch(client, batch_lines([p]))).id for p in ("p", "q", "r")]
        assert [b.id async for b in client.batches.list(limit=2)] == made[::-1]
        files = [f.id async for f in client.files.list(limit=1, purpose="batch")]
        assert len(files) == 3
        await client.files.delete(files[0])
        for lost in (client.files.retrieve(files[0]), client.batches.retrieve("batch_9")):
            with pytest.raises(openai.NotFoundError):
                await lost
        with pytest.raises(openai.BadRequestError, match="fine-tune"):
            await client.files.create(file=b"x", purpose="fine-tune")

    with serve() as server:
        talk(server, work)
        assert server.log.requests["batches"] == 3 + 2 + 1


def test_a_lost_answer_to_a_batchs_creation_leaves_the_batch() -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(openai.APIConnectionError):
            await start_batch(client, batch_lines(["p"]))
        return [b async for b in client.batches.list()]

    with serve(Plan(faults=(Fault("drop", endpoints=("batches",)),), seed=1)) as server:
        server.plan = Plan(script=(("POST /v1/batches", ("drop",)),))
        left = talk(server, work)
    assert [b.metadata for b in left] == [{"run": "7"}]


# The plan --------------------------------------------------------------------------------------


def faults_of(plan: Plan, prompts: list[str]) -> dict[str, str | None]:
    """What one request a prompt meets, as the server's log of a run says it."""
    with serve(plan) as server:
        requests = [chat_request(prompt, close=False) for prompt in prompts]
        met: dict[str, str | None] = {}
        for prompt, request in zip(prompts, requests):
            before = dict(server.log.faults)
            exchange(server, request, close=True)
            new = Counter(server.log.faults) - Counter(before)
            met[prompt] = next(iter(new), None)
    return met


def test_a_plan_strikes_the_same_prompts_in_any_order() -> None:
    prompts = [f"prompt {n}" for n in range(60)]
    kinds = ("rate_limit", "drop", "prose", "truncated")
    plan = Plan(seed=11, faults=tuple(Fault(kind, 0.15) for kind in kinds))
    forward, backward = faults_of(plan, prompts), faults_of(plan, prompts[::-1])
    assert forward == backward
    assert {*kinds, None} == set(forward.values())
    assert forward != faults_of(Plan(seed=12, faults=plan.faults), prompts)


@pytest.mark.parametrize("by", ["prompt", "attempt", "request"])
def test_the_shares_are_those_of_the_plan(by: str) -> None:
    plan = Plan(
        seed=5,
        by=by,
        faults=(Fault("rate_limit", 0.1, None), Fault("shuffled", 0.5), Fault("prose", 0.2)),
    )
    drawn = Counter(plan.fault("chat", "", f"p{n}", 1, n) for n in range(20000))
    # Five standard deviations of a binomial count.
    for kind, share in (("rate_limit", 0.1), ("prose", 0.2), (None, 0.7)):
        assert abs(drawn[kind] - 20000 * share) < 5 * math.sqrt(20000 * share * (1 - share))
    assert set(drawn) == {"rate_limit", "prose", None}
    later = Counter(plan.fault("chat", "", f"p{n}", 2, n) for n in range(20000))
    assert later["prose"] == 0
    assert later["rate_limit"] > 0


def test_what_decides_a_fault() -> None:
    faults = (Fault("rate_limit", 0.5, None),)

    def drawn(by: str, key: str, attempts: range, numbers: range) -> set[str | None]:
        plan = Plan(by=by, faults=faults)
        return {plan.fault("chat", "", key, a, n) for a in attempts for n in numbers}

    many = range(1, 40)
    assert len(drawn("prompt", "p", many, many)) == 1
    assert len(drawn("attempt", "p", range(1, 2), many)) == 1
    assert len(drawn("attempt", "p", many, range(1))) == 2
    assert len(drawn("request", "p", many, range(1))) == 1
    assert len(drawn("request", "p", range(1, 2), many)) == 2


def test_a_script_says_what_each_attempt_meets() -> None:
    plan = Plan(
        script=(("alpha", ("rate_limit", "", "prose")), ("beta", ("shuffled",))),
        faults=(Fault("server_error"),),
    )
    met = [plan.fault("chat", "the alpha prompt", "k", attempt, 1) for attempt in range(1, 5)]
    assert met == ["rate_limit", None, "prose", None]
    assert plan.fault("chat", "beta", "k", 1, 1) is None
    assert plan.fault("embeddings", "beta", "k", 1, 1) == "shuffled"
    assert plan.fault("chat", "gamma", "k", 1, 1) == "server_error"


def test_a_plan_survives_json() -> None:
    plan = Plan(
        seed=3,
        by="attempt",
        faults=(Fault("drop", 0.2, None), Fault("rate_limit", 0.1, 2, ("files", "chat"))),
        script=(("a", ("", "drop")),),
        embedding_models={"e": 5},
        batch_polls=(0, 1, 0),
    )
    assert Plan.from_json(plan.to_json()) == plan
    short = Plan.from_json('{"faults": {"drop": 0.2}, "script": {"a": ["drop"]}}')
    assert short == Plan(faults=(Fault("drop", 0.2),), script=(("a", ("drop",)),))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"sed": 1}',
        '{"faults": {"nothing": 0.1}}',
        '{"faults": {"drop": 1.5}}',
        '{"faults": {"drop": 0.6, "rate_limit": 0.6}}',
        '{"faults": [{"kind": "drop", "attempts": 0}]}',
        '{"faults": [{"kind": "prose", "endpoints": ["embeddings"]}]}',
        '{"faults": [{"kind": "drop", "endpoints": ["chatt"]}]}',
        '{"script": {"a": ["nothing"]}}',
        '{"by": "chance"}',
        '{"structured": "yes"}',
        '{"error_form": "xml"}',
        '{"batch_outcomes": ["lost"]}',
    ],
)
def test_a_wrong_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Plan.from_json(text)


def test_every_kind_is_tested_here() -> None:
    tested = {
        *STATUS_ERRORS,
        *CONTENT_CHECKS,
        "no_choices",
        "drop",
        "hang",
        "shuffled",
        "short_list",
    }
    tested |= {"drop_mid_body", "slow", "delay", "missing_usage"}
    tested |= {"bad_body", "html_body", "error_body"}
    assert tested == set(KINDS)
    groups = (STATUS_KINDS, SILENT_KINDS, DELIVERY_KINDS, CONTENT_KINDS, VECTOR_KINDS)
    assert len(KINDS) == sum(map(len, groups))


# The log ---------------------------------------------------------------------------------------


def test_the_file_has_a_line_for_each_paid_answer(tmp_path: Path) -> None:
    log = tmp_path / "paid.jsonl"
    plan = Plan(script=(("one", ("rate_limit", "truncated")), ("two", ("drop",))))

    async def work(client: openai.AsyncOpenAI) -> None:
        for prompt in ("one", "one", "one", "two", "two", "three"):
            try:
                await ask(client, prompt)
            except openai.APIError:
                continue

    with serve(plan, log) as server:
        talk(server, work)
        # Flushed at once: the lines are there while the server still runs.
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert server.log.statuses == {200: 4, 429: 1}
    assert [(line["prompt"], line["attempt"], line["fault"]) for line in lines] == [
        (prompt_hash("one"), 2, "truncated"),
        (prompt_hash("one"), 3, None),
        (prompt_hash("two"), 2, None),
        (prompt_hash("three"), 1, None),
    ]
    assert [line["request"] for line in lines] == [2, 3, 5, 6]
    assert {line["status"] for line in lines} == {200}
    assert sum(line["usage"]["prompt_tokens"] for line in lines) == server.log.prompt_tokens


@pytest.mark.parametrize("charge", [False, True])
def test_an_answer_whose_client_has_gone_is_abandoned(charge: bool) -> None:
    with serve(Plan(latency_s=30, charge_abandoned=charge)) as server:
        with connected(server) as connection:
            connection.sendall(chat_request("p"))
            until(lambda: server.log.requests["chat"] == 1)
        until(lambda: server.log.abandoned == 1)
        assert server.log.paid == ({"chat": 1} if charge else {})


def test_a_killed_client_leaves_the_lines_of_what_it_paid(tmp_path: Path) -> None:
    log = tmp_path / "paid.jsonl"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from openai_server.load import *\n"
        "requests = [request_bytes('/v1/chat/completions', {'model': 'gpt-3.5-turbo', 'messages': "
        "[{'role': 'user', 'content': str(n)}]}) for n in range(10000)]\n"
        "drive(int(sys.argv[2]), requests, 4, 600)"
    )
    tests = str(Path(__file__).resolve().parents[1])
    with serve(Plan(latency_s=0.002), log) as server:
        client = subprocess.Popen([sys.executable, "-c", code, tests, str(server.port)])
        try:
            until(lambda: server.log.paid["chat"] > 50)
        finally:
            client.send_signal(signal.SIGKILL)
            client.wait()
        until(lambda: server.log._under_way == 0)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert len(lines) == server.log.paid["chat"]
        assert server.log.requests["chat"] - len(lines) == server.log.abandoned <= 4
        assert content_of(talk(server, lambda c: ask(c, "p"))) == answer_for("p")


def test_concurrency_is_what_the_client_makes_it() -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        limit = asyncio.Semaphore(5)

        async def one(n: int) -> None:
            async with limit:
                await ask(client, f"prompt {n}")

        await asyncio.gather(*map(one, range(10)))

    with serve(Plan(latency_s=0.3)) as server:
        talk(server, work)
        assert server.log.peak_concurrency == 5
        assert server.log.peak_requests(3600) == 10
        assert server.log.peak_tokens(3600) == 10 * 5
        assert len(server.log.arrivals) == 10


@given(
    gaps=st.lists(st.integers(0, 5), max_size=30),
    window=st.integers(1, 8),
    amounts=st.lists(st.integers(0, 9), min_size=30, max_size=30),
)
def test_the_peak_of_a_window_is_the_naive_one(
    gaps: list[int], window: int, amounts: list[int]
) -> None:
    times = np.cumsum(gaps).tolist()
    held = [
        [amounts[n] for n, other in enumerate(times) if now <= other < now + window]
        for now in times
    ]
    assert peak_in_window(times, window) == max(map(len, held), default=0)
    assert peak_in_window(times, window, amounts) == max(map(sum, held), default=0)


# As a process ----------------------------------------------------------------------------------


def test_the_server_runs_as_a_process_and_tells_its_counters(tmp_path: Path) -> None:
    log = tmp_path / "paid.jsonl"
    with serve_process(Plan(script=(("one", ("server_error",)),)), log) as server:

        async def work() -> Any:
            async with client_of(server.base_url) as client:
                with pytest.raises(openai.InternalServerError):
                    await ask(client, "one")
                return await ask(client, "one")

        assert content_of(asyncio.run(work())) == answer_for("one")
        counters = server.counters(window_s=60)
        # Its lines survive its own end, too.
        os.kill(server.pid, signal.SIGKILL)
    assert counters["requests"] == {"chat": 2}
    assert counters["paid"] == {"chat": 1}
    assert counters["faults"] == {"server_error": 1}
    assert counters["peak_requests"] == 2
    assert [json.loads(line)["attempt"] for line in log.read_text().splitlines()] == [2]


def test_a_wrong_plan_stops_the_process(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"faults": {"nothing": 1}}')
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "openai_server", "--plan", str(plan)],
        cwd=tests,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no fault is called 'nothing'" in done.stderr
    assert done.stdout == ""


def test_a_taken_port_is_an_error() -> None:
    with serve() as server, pytest.raises(OSError), serve(port=server.port):
        pass


def test_the_load_generator_counts_whole_answers() -> None:
    with serve() as server:
        requests = [chat_request(f"prompt {n}") for n in range(10)]
        done, taken = drive(server.port, requests, connections=3, seconds=0.1)
        assert done == server.log.paid["chat"] >= 3
        assert server.log.connections == 3
        assert taken > 0


# HTTP ------------------------------------------------------------------------------------------


def chat_request(prompt: str, *, close: bool = False) -> bytes:
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    raw = request_bytes("/v1/chat/completions", body)
    return raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) if close else raw


def connected(server: Server) -> socket.socket:
    url = urlsplit(server.base_url)
    return socket.create_connection((url.hostname, url.port or 0), timeout=20)


def exchange(server: Server, raw: bytes, *, close: bool = False) -> bytes:
    """Send bytes; all that comes until the server closes."""
    if close:
        raw = raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    received = b""
    with connected(server) as connection:
        connection.sendall(raw)
        while True:
            try:
                piece = connection.recv(1 << 16)
            except ConnectionResetError:
                return received
            if not piece:
                return received
            received += piece


def until(true: Callable[[], bool]) -> None:
    """Wait until something has happened in the server's thread."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serve() as server:
        yield server


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer x\r\nConnection: close\r\n"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "p"}]}).encode()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", 400),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", 400),
        (HEAD + b"Content-Length: 4\r\n\r\n{no}", 400),
        (HEAD + b"Content-Length: 2\r\n\r\n[]", 400),
        (HEAD.replace(b"POST", b"PUT") + b"\r\n", 405),
        (HEAD.replace(b"/v1/chat", b"/v2/chat") + b"\r\n", 404),
        (HEAD.replace(b"POST /v1/chat/completions", b"GET /x/models") + b"\r\n", 404),
        (HEAD.replace(b"POST /v1/chat/completions", b"GET /log?window=0") + b"\r\n", 400),
    ],
)
def test_what_is_no_request_is_told_so(plain: Server, raw: bytes, status: int) -> None:
    assert exchange(plain, raw).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_may_come_in_chunks(plain: Server, size: int) -> None:
    pieces = [BODY[n : n + size] for n in range(0, len(BODY), size)]
    chunks = b"".join(f"{len(p):X};x=y\r\n".encode() + p + b"\r\n" for p in pieces)
    raw = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"
    answer = exchange(plain, raw)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert prompt_hash("p").encode() in answer


def test_a_client_that_expects_100_gets_it(plain: Server) -> None:
    length = f"Content-Length: {len(BODY)}\r\n".encode()
    answer = exchange(plain, HEAD + length + b"Expect: 100-continue\r\n\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_a_connection_lives_on() -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        for n in range(5):
            await ask(client, f"prompt {n}")

    with serve() as server:
        talk(server, work)
        assert server.log.connections == 1


def test_the_end_of_the_block_closes_the_server_under_load() -> None:
    with serve(Plan(latency_s=60)) as server, connected(server) as connection:
        connection.sendall(chat_request("p"))
        until(lambda: server.log.requests["chat"] == 1)
    with pytest.raises(OSError):
        connected(server)

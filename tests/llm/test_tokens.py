"""Counting tokens: by tiktoken where its vocabulary is on the machine, else by an estimate."""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.llm.tokens import TokenCounter, estimate_tokens, token_counter

ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


@given(st.text())
def test_an_estimate_lies_between_a_quarter_of_and_all_characters(text: str) -> None:
    tokens = estimate_tokens(text)
    assert len(text) / 4 <= tokens <= len(text)
    assert isinstance(tokens, int)


@given(st.text(), st.text())
def test_an_estimate_grows_with_the_text(one: str, other: str) -> None:
    both = estimate_tokens(one + other)
    assert max(estimate_tokens(one), estimate_tokens(other)) <= both
    assert both <= estimate_tokens(one) + estimate_tokens(other)


def test_what_an_estimate_is() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("four") == 1
    assert estimate_tokens("fives") == 2
    assert estimate_tokens("日本語") == 3


def test_messages_cost_more_than_their_text() -> None:
    counter = TokenCounter(len, True, "characters")
    texts = [{"role": "system", "content": "abc"}, {"role": "user", "content": "de"}]
    assert 5 < counter.messages(texts) <= 5 + 2 * 10


def test_without_tiktoken_it_says_that_it_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    counter = token_counter("gpt-4o-mini")
    assert not counter.exact
    assert counter.how.startswith("estimated")
    assert counter.count("eight ch") == 2


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The network calls that are tried; each of them fails."""
    tried: list[str] = []

    def refuse(name: str) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            tried.append(name)
            raise OSError("no network in this test")

        return call

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse(name))
    monkeypatch.setattr(socket.socket, "connect", refuse("connect"))
    return tried


@pytest.fixture
def tiktoken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The package, with an empty folder of vocabularies and nothing read before."""
    module = pytest.importorskip("tiktoken")
    registry = pytest.importorskip("tiktoken.registry")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(registry, "ENCODINGS", {})
    return module


def cache_file(folder: Path, encoding: str) -> Path:
    return folder / hashlib.sha1(ADDRESS.format(encoding).encode()).hexdigest()


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-3.5-turbo", "gpt-4o-2024-05-13"])
def test_a_vocabulary_that_is_not_here_is_not_fetched(
    tiktoken: Any, calls: list[str], model: str
) -> None:
    counter = token_counter(model)
    assert calls == []
    assert not counter.exact
    assert "has not fetched" in counter.how


def test_caching_that_is_switched_off_fetches_nothing(
    tiktoken: Any, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert not token_counter("gpt-4o-mini").exact
    assert calls == []


def test_another_model_is_estimated_and_says_so(tiktoken: Any, calls: list[str]) -> None:
    counter = token_counter("llama3")
    assert not counter.exact
    assert "llama3 has a tokenizer of its own" in counter.how
    assert calls == []


def test_a_damaged_vocabulary_is_no_traceback(
    tiktoken: Any, calls: list[str], tmp_path: Path
) -> None:
    cache_file(tmp_path, "o200k_base").write_bytes(b"not a vocabulary")
    counter = token_counter("gpt-4o-mini")
    assert not counter.exact
    assert counter.count("eight ch") == 2


def test_a_vocabulary_that_is_here_counts(
    tiktoken: Any, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a vocabulary of single bytes, so that the right count is known."""
    single = tiktoken.Encoding(
        name="o200k_base",
        pat_str=r"\S+|\s+",
        mergeable_ranks={bytes([n]): n for n in range(256)},
        special_tokens={"<|endoftext|>": 256},
    )
    monkeypatch.setitem(sys.modules["tiktoken.registry"].ENCODINGS, "o200k_base", single)
    cache_file(tmp_path, "o200k_base").write_bytes(b"")
    counter = token_counter("gpt-4o-mini")
    assert counter.exact
    assert counter.how == "tiktoken o200k_base"
    assert counter.count("naïve") == 6
    assert counter.count("<|endoftext|>") == 13, "a user's text is text, whatever it looks like"
    assert calls == []

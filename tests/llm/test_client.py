"""The connection: what is checked before it, and that the key is in no message."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.errors import MissingExtraError, OptionError, UserError
from recbole_darec.llm.client import (
    KEY_VARIABLE,
    Server,
    ServerError,
    check_server,
    connect,
    explain,
    without_secrets,
)

KEY = "sk-marked-0123456789"
OWN = "http://127.0.0.1:8000/v1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def opened(server: Server) -> tuple[str, str]:
    """Return the address and the key of the client that is opened."""

    async def run() -> tuple[str, str]:
        async with connect(server) as client:
            return str(client.base_url), client.api_key

    return asyncio.run(run())


def test_the_key_is_the_environments() -> None:
    address, key = opened(Server())
    assert address.startswith("https://api.openai.com/")
    assert key == KEY


def test_a_line_break_behind_the_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}\r\n")
    assert opened(Server())[1] == KEY
    assert KEY not in without_secrets(f"Bearer {KEY}", Server())


@pytest.mark.parametrize("key", ["", "  "])
def test_without_a_key_openais_server_is_one_error(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(ServerError, match=KEY_VARIABLE) as caught:
        opened(Server())
    assert "--base-url" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ServerError):
        check_server(Server())


def test_without_a_key_a_server_of_ones_own_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    address, key = opened(Server(base_url=OWN))
    assert address.startswith(OWN)
    assert key, "the client refuses to start with an empty key"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:11434/v1")
    assert opened(Server())[0].startswith("http://localhost:11434/v1")
    assert opened(Server(base_url=OWN))[0].startswith(OWN), "the option wins"


@pytest.mark.parametrize("key", ["two words", "sk-\u00fc", "sk\u200b-1"])
def test_what_can_be_no_key_is_told_without_it(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(ServerError, match=KEY_VARIABLE) as caught:
        opened(Server(base_url=OWN))
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "localhost:8000/v1", "ftp://x/v1", "http://", "http://:80/v1",
     "http://h:port/v1", "http://h:99999/v1", "http://h:0/v1", "http://[::1/v1", "http://a b/v1",
     " http://h/v1", "http://h/v1\n"],
)  # fmt: skip
def test_a_base_url_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="--base-url must be"):
        Server(base_url=url)
    if url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(OptionError, match="OPENAI_BASE_URL must be"):
            check_server(Server())


@pytest.mark.parametrize("url", ["http://localhost:8000", "https://h/a/b/", "http://[::1]:8080/v1"])
def test_a_base_url(url: str) -> None:
    assert opened(Server(base_url=url))[0].rstrip("/") == url.rstrip("/")


@pytest.mark.parametrize("url", ["http://me:s3cret@h/v1", "http://s3cret@h:port/v1"])
def test_a_password_in_the_base_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(OptionError, match="--base-url must not hold a password") as caught:
        Server(base_url=url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurrency": 0}, "--concurrency"),
        ({"retries": -1}, "--retries"),
        ({"timeout": 0}, "--timeout"),
        ({"timeout": float("nan")}, "--timeout"),
        ({"timeout": float("inf")}, "--timeout"),
    ],
)
def test_options_out_of_their_range(options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        Server(**options)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"recbole-darec\[llm\]"):
        opened(Server(base_url=OWN))
    with pytest.raises(UserError, match="'openai'"):
        check_server(Server())


# -- errors ---------------------------------------------------------------------------------------


class Answered(Exception):
    """An error as the client raises it: with a status, and the body's error object."""

    def __init__(self, message: str, status: int | None, body: Any) -> None:
        super().__init__(message)
        self.status_code = status
        self.body = body


@given(
    before=st.text(max_size=400),
    after=st.text(max_size=40),
    status=st.sampled_from([None, 400, 401, 500]),
    in_body=st.booleans(),
)
def test_no_part_of_the_key_is_in_an_explanation(
    before: str, after: str, status: int | None, in_body: bool
) -> None:
    message = f"{before}{KEY}{after}"
    error = Answered("Error" if in_body else message, status, {"message": message})
    if not in_body:
        error.body = None
    told = explain(error, Server())
    for size in range(8, len(KEY)):
        assert KEY[:size] not in told
    assert "\n" not in told
    assert len(told) < 400
    told.encode("utf-8")


def test_an_explanation_is_the_servers_message_with_its_status() -> None:
    body = {"message": "You exceeded\nyour quota", "code": "insufficient_quota"}
    assert explain(Answered("long", 429, body), Server()) == "429: You exceeded your quota"
    assert explain(Answered("Error code: 500", 500, "a text"), Server()) == "500: a text"
    for body in (None, {"message": 7}, {}):
        assert explain(Answered("as it is", 500, body), Server()) == "500: as it is"
    assert explain(TimeoutError(), Server()) == "TimeoutError"


def test_an_explanation_says_what_lies_behind() -> None:
    error = ConnectionError("Connection error.")
    error.__cause__ = OSError(f"cannot connect to localhost:9 with {KEY}")
    told = explain(error, Server())
    assert told == "Connection error. (cannot connect to localhost:9 with ***)"


def test_without_a_key_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert without_secrets("a text", Server()) == "a text"


def test_the_key_of_another_variable_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "other-key-1")
    server = Server(base_url=OWN, key_variable="OTHER_KEY")
    assert opened(server)[1] == "other-key-1"
    assert without_secrets("Bearer other-key-1", server) == "Bearer ***"

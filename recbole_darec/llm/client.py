"""The ``openai`` client: made once, keyed from the environment, with errors told in one line."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from recbole_darec.errors import MissingExtraError, UserError
from recbole_darec.llm.options import KEY_VARIABLE, Server, check_url
from recbole_darec.llm.words import words_of

__all__ = [
    "KEY_VARIABLE",
    "Server",
    "ServerError",
    "check_server",
    "connect",
    "explain",
    "is_own",
    "without_secrets",
]

_URL_VARIABLE = "OPENAI_BASE_URL"
_LONGEST = 300  # characters of an error
_NO_KEY = "none"  # servers of one's own ask for none, and the client for a text


class ServerError(UserError):
    """The server refuses what every request asks for: its key, its model, its address."""


def check_server(server: Server) -> None:
    """Find out whether :func:`connect` would open a client, without opening one.

    Raises:
        MissingExtraError: the package is not installed.
        OptionError: OPENAI_BASE_URL is no address.
        ServerError: OpenAI's own server is meant and no key is in the environment, or the key there
            can be none.
    """
    _settings(server)


def connect(server: Server) -> Any:
    """Return an ``openai.AsyncOpenAI`` for ``server``, to be used with ``async with``.

    Raises:
        UserError: see :func:`check_server`.
    """
    settings = _settings(server)
    import openai

    return openai.AsyncOpenAI(**settings, http_client=_transport(openai))


def _settings(server: Server) -> dict[str, Any]:
    try:
        import openai  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "openai":
            raise
        raise MissingExtraError("openai", "llm") from None
    base_url = _base_url(server)
    if base_url is not None:
        check_url(_URL_VARIABLE, base_url)
    key = _key(server)
    if key is None and base_url is None:
        raise ServerError(
            f"no API key: set the environment variable {server.key_variable}, or name a server of "
            "your own with --base-url"
        )
    if key is not None and not re.fullmatch("[!-~]+", key):
        raise ServerError(
            f"the environment variable {server.key_variable} holds blanks or letters beyond ASCII, "
            "which no key has: set it anew"
        )
    return {
        "api_key": key or _NO_KEY,
        "base_url": base_url,
        "timeout": server.timeout,
        "max_retries": server.retries,
    }


def _base_url(server: Server) -> str | None:
    return server.base_url or os.environ.get(_URL_VARIABLE) or None


def is_own(server: Server) -> bool:
    """Whether another server than OpenAI's own is asked."""
    url = _base_url(server)
    return url is not None and urlsplit(url).hostname != "api.openai.com"


def _key(server: Server) -> str | None:
    # A line break at the end, as a file of settings leaves it, would hide the key in a message.
    return (os.environ.get(server.key_variable) or "").strip() or None


def _transport(openai: Any) -> Any:
    """Return aiohttp's connections where they are installed: several times as many a second."""
    try:
        return openai.DefaultAioHttpClient()
    except (AttributeError, RuntimeError):  # an openai before it, or no aiohttp
        return None


def without_secrets(text: str, server: Server) -> str:
    """Return ``text`` without the key, which a server may repeat in its answer."""
    key = _key(server)
    return text.replace(key, "***") if key else text


def explain(error: BaseException, server: Server) -> str:
    """Say an error of the client in one short line, the server's words, without the key."""
    status = getattr(error, "status_code", None)
    message = words_of(getattr(error, "body", None))
    if not message:
        message = str(error) or type(error).__name__
        if status is None and str(error.__cause__ or ""):
            message += f" ({error.__cause__})"  # which host, say, has refused
    # The key goes first: of one that is cut in two no half would be known.
    line = " ".join(without_secrets(message, server).split())[:_LONGEST]
    line = line.encode("utf-8", "replace").decode("utf-8")
    return f"{status}: {line}" if status else line

"""What a server says of an error, in whatever form it says it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["AnsweredError", "error_in", "said", "words_of"]

# Where the words stand: OpenAI's error.message; FastAPI's detail, a list of {loc, msg}; others'.
_KEYS = ("message", "detail", "error", "errors", "msg", "error_msg", "error_message")
_ECHO = "input"  # where FastAPI repeats the request
_DEPTH = 8
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


class AnsweredError(Exception):
    """An error that came with status 200, as gateways send it when the model behind them fails.

    Attributes:
        body: what the server answered.
        status_code: the status that stands in it, from 400 to 599; None where there is none.
        code: the server's name for the error.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__(words_of(body))
        inner = body.get("error")
        places = (inner, body) if isinstance(inner, Mapping) else (body,)
        codes = [str(place.get(key)) for place in places for key in ("code", "status")]
        named = [int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)]
        self.body = body
        self.status_code = named[0] if named else None
        self.code = codes[0]


def error_in(answer: Any) -> AnsweredError | None:
    """Return the error that an answer without a result tells of, None where it tells of none.

    Args:
        answer: a JSON object as a dictionary, or an object of the package ``openai``.
    """
    if not isinstance(answer, Mapping):
        answer = getattr(answer, "model_extra", None) or {}
    return AnsweredError(answer) if words_of(answer) else None


def words_of(body: Any) -> str:
    """Return the sentences in an error's body, "" where there are none.

    They are found in ``{"error": {"message": "…"}}``, ``{"error": "…"}``, ``{"message": {…}}``,
    ``{"detail": [{"loc": ["body", "model"], "msg": "…"}]}``, a page of HTML and a plain text.
    """
    return _words(body, _DEPTH)


def _words(body: Any, depth: int) -> str:
    if depth == 0:
        return ""
    if isinstance(body, str):
        text = _TAGS.sub(" ", body) if body.lstrip().startswith("<") else body
        return " ".join(text.split())
    if isinstance(body, list):
        return "; ".join(filter(None, (_words(one, depth - 1) for one in body)))
    if not isinstance(body, Mapping):
        return ""
    words = next(filter(None, (_words(body.get(key), depth - 1) for key in _KEYS)), "")
    place = body.get("loc")
    if words and isinstance(place, list) and place:
        return f"{'.'.join(map(str, place))}: {words}"
    return words


def said(error: BaseException) -> str:
    """Return all that the server said, its codes included and the echo of the request left out.

    Where its body has no text, the client's own words count; elsewhere they may hold the echo.
    For finding out what an error is about; :func:`.client.explain` tells it to people.
    """
    return " ".join(_strings(getattr(error, "body", None), _DEPTH)) or str(error)


def _strings(body: Any, depth: int) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif isinstance(body, Mapping) and depth:
        for key, value in body.items():
            if key != _ECHO:
                yield from _strings(value, depth - 1)
    elif isinstance(body, list) and depth:
        for value in body:
            yield from _strings(value, depth - 1)

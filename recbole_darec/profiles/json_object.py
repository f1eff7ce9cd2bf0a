"""The JSON objects in a model's text, whatever stands around them.

Models put words and fences around JSON, write it as Python would, leave a comma or forget the last
bracket.  Such a text is mended where it can be read in one way only.  A quote within a text that is
not escaped, say, could end it anywhere, and is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["Ambiguous", "objects_in"]

_MOST = 200  # places where an object may begin that are tried
_MENDED = 500_000  # characters that are read for mending, in all places together

_TOKEN = re.compile(
    r'\s+|(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")'
    r"|(?P<quoted>'[^'\\]*(?:\\.[^'\\]*)*')"
    r"|(?P<mark>[{}\[\]:,])|(?P<word>[\w.+-]+)",
    re.DOTALL,
)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_JSON_WORDS = ("true", "false", "null")
_CLOSED_BY = {"{": "}", "[": "]"}


class Ambiguous(ValueError):
    """One key has two values."""


def objects_in(text: str, ended: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text that stand in no other, from left to right.

    Args:
        text: the text.
        ended: whether the writer came to the end; of a text that was cut off no bracket is closed.

    Raises:
        Ambiguous: a key stands twice in an object, with different values.
    """
    place, tried, left = text.find("{"), 0, _MENDED
    while place >= 0 and tried < _MOST:
        tried += 1
        found, end = _decoded(text, place)
        if found is None and left > 0:
            mended, end = _mended(text, place, ended)
            left -= end - place
            found, _ = _decoded(mended, 0)
        if found is not None:
            yield found
        place = text.find("{", place + 1 if found is None else end)


def _decoded(text: str, place: int) -> tuple[dict[str, Any] | None, int]:
    """Return the object that begins at a place and where it ends; None for no object."""
    try:
        value, end = _decoder.raw_decode(text, place)
    except Ambiguous:
        raise
    except (ValueError, RecursionError):
        return None, place
    return value, end


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            raise Ambiguous(key)
    return found


# strict=False lets a line break stand in a text as it is.
_decoder = json.JSONDecoder(object_pairs_hook=_once, strict=False)


def _mended(text: str, place: int, ended: bool) -> tuple[str, int]:
    """Rewrite what begins at a bracket token by token; "" where it cannot be read in one way.

    Python's spelling becomes JSON's, names without quotes get them, a comma before a closing
    bracket goes, and brackets that are open at the end of the whole text are closed.  The second
    value is where the reading ended.
    """
    out: list[str] = []
    open_brackets: list[str] = []
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            return "", place
        place = token.end()
        mark = token["mark"]
        if mark in ("}", "]"):
            if not open_brackets or mark != _CLOSED_BY[open_brackets.pop()]:
                return "", place
            if out[-1] == ",":
                out.pop()
        elif mark in ("{", "["):
            open_brackets.append(mark)
        piece = _as_json(token)
        if piece == ":" and out and out[-1][0] not in '"{}[]:,':
            out[-1] = json.dumps(out[-1])  # a name without quotes
        if piece:
            out.append(piece)
        if not open_brackets:
            return "".join(out), place
    if not ended or out[-1] in ("{", "[", ":", ","):
        return "", place
    return "".join(out) + "".join(_CLOSED_BY[one] for one in reversed(open_brackets)), place


def _as_json(token: re.Match[str]) -> str:
    if token["text"] or token["mark"]:
        return token[0]
    if token["quoted"]:
        body = re.sub(r"\\.|\"", _requoted, token["quoted"][1:-1], flags=re.DOTALL)
        return f'"{body}"'
    return _WORDS.get(token["word"], token["word"]) if token["word"] else ""


def _requoted(match: re.Match[str]) -> str:
    return {'"': '\\"', "\\'": "'"}.get(match[0], match[0])

"""One line of JSON, or of a Python literal, as a dictionary; nothing in it is ever run.

Some of the public files (Steam, the Amazon metadata of 2014) have lines as Python prints a
dictionary: ``{u'id': u'1', 'price': 4.99, 'early_access': False}``.  Those are rewritten as JSON,
string by string, and read as JSON: no compiler sees them, and nesting is bounded by JSON's reader.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from recbole_darec.sources.raw.lines import MAX_LINE, LineFault, Record

__all__ = ["number", "parse_list", "parse_record", "text_of", "token"]

# strict=False lets a raw tab stand in a string; the texts are cleaned later anyway.
_decode_first = json.JSONDecoder(strict=False).raw_decode
_encode_string = json.encoder.encode_basestring_ascii

# A string, or a word.  Every string ends by its quote, a lone backslash or the end of the line, so
# that the pattern never has to try again: the time stays linear in the line's length.
_LITERAL = re.compile(
    r"""[uU]?'(?P<one>[^'\\]*(?:\\.[^'\\]*)*)(?P<end_one>['\\]|\Z)"""
    r"""|[uU]?"(?P<two>[^"\\]*(?:\\.[^"\\]*)*)(?P<end_two>["\\]|\Z)"""
    r"""|\b(?P<word>True|False|None)\b""",
    re.DOTALL,
)
_WORDS = {"True": "true", "False": "false", "None": "null"}

_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^{}]*)\}|([0-7]{1,3})|(.))",
    re.DOTALL,
)
_ESCAPES = {
    "\n": "",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}


def parse_record(line: Record) -> dict[str, Any]:
    """Read one line as a dictionary; a row of a table is one already.

    Half of a surrogate pair in a text is left as it is; pairs are joined.

    Raises:
        LineFault: the line is too long, not UTF-8, or neither JSON nor a Python literal of
            dictionaries, lists, strings, numbers, ``True``, ``False`` and ``None``.
    """
    if isinstance(line, dict):
        return line
    if len(line) > MAX_LINE:
        raise LineFault(f"longer than {MAX_LINE >> 20} MiB")
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise LineFault("not UTF-8") from None
    try:
        record = _decoded(text if text[1:2] not in "'u" else _as_json(text))
    except (ValueError, RecursionError):
        # also a dictionary that begins otherwise: {"it's": u'so'}
        try:
            record = _decoded(_as_json(text))
        except (ValueError, RecursionError):
            raise LineFault("not JSON") from None
    if type(record) is not dict:
        raise LineFault("not a JSON object")
    return record


def parse_list(text: str) -> list[Any]:
    """Read a text as a list.

    Raises:
        LineFault: the text is too long, or neither JSON nor a Python literal of a list.
    """
    if len(text) > MAX_LINE:
        raise LineFault(f"longer than {MAX_LINE >> 20} MiB")
    text = text.strip()
    try:
        found = _decoded(text)
    except (ValueError, RecursionError):
        try:
            found = _decoded(_as_json(text))
        except (ValueError, RecursionError):
            raise LineFault("not JSON") from None
    if type(found) is not list:
        raise LineFault("no list")
    return found


def _decoded(text: str) -> Any:
    value, end = _decode_first(text)  # half the time of decode, which looks for blanks around
    if end != len(text):
        raise ValueError("something behind the value")
    return value


def _as_json(text: str) -> str:
    return _LITERAL.sub(_literal_as_json, text)


def _literal_as_json(match: re.Match[str]) -> str:
    word = match["word"]
    if word:
        return _WORDS[word]
    body, end = match["one"], match["end_one"]
    if body is None:
        body, end = match["two"], match["end_two"]
    if end not in ("'", '"'):
        raise ValueError("a string without end")
    if "\\" in body:
        body = _ESCAPE.sub(_unescaped, body)
    return str(_encode_string(body))


def _unescaped(match: re.Match[str]) -> str:
    two, four, eight, name, octal, other = match.groups()
    if other is not None:
        if other in "xuUN":
            raise ValueError("a cut escape")
        # Python keeps the backslash where the letter means nothing
        return _ESCAPES.get(other, "\\" + other)
    if name is not None:
        try:
            return unicodedata.lookup(name)
        except KeyError:
            raise ValueError("no such character") from None
    code = int(octal, 8) if octal else int(two or four or eight, 16)
    return chr(code)  # a ValueError beyond Unicode, as wanted


def token(record: dict[str, Any], key: str) -> str:
    """Return an id: text, or a whole number as text.

    Raises:
        LineFault: it is missing, or of another type.
    """
    value = record.get(key)
    if type(value) is str:
        return value
    if value is None:
        raise LineFault(f"no '{key}'")
    if type(value) is int:
        try:
            return str(value)
        except ValueError:  # thousands of digits
            pass
    raise LineFault(f"'{key}' is no text")


def number(record: dict[str, Any], key: str) -> float:
    """Return a finite number.

    Raises:
        LineFault: it is missing, of another type, NaN or infinite.
    """
    value = record.get(key)
    if type(value) is not float:
        if value is None:
            raise LineFault(f"no '{key}'")
        if type(value) is not int:
            raise LineFault(f"'{key}' is no number")
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if not math.isfinite(value):
        raise LineFault(f"'{key}' is not finite")
    return value


def text_of(value: Any, separator: str = " ") -> str:
    """Return a cell of any type as text: lists, also of lists, are joined, each part once.

    ``None``, ``False``, empty parts and dictionaries, whose keys are no text, give nothing.
    """
    if type(value) is str:
        return value
    return separator.join(dict.fromkeys(_parts(value)))


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _parts(one)
    elif isinstance(value, str):
        text = value.strip()
        if text:
            yield text
    elif value is not None and value is not False and not isinstance(value, dict):
        yield str(value)

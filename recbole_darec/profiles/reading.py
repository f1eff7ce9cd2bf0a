"""From a chat completion to a profile, or to the reason why there is none in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recbole_darec.llm.words import AnsweredError, error_in
from recbole_darec.profiles.json_object import Ambiguous, objects_in
from recbole_darec.profiles.message import Message, read_message, without_thoughts

__all__ = [
    "Profile",
    "Unusable",
    "failure_in",
    "message_of",
    "read_content",
    "read_response",
    "thought_in",
]

# What servers call it when an answer was cut off, or held back.
_CUT = ("length", "max_tokens", "max_output_tokens", "model_length")
_HELD_BACK = ("content_filter", "safety", "recitation", "prohibited_content", "refusal")
_DEPTH = 3  # of objects around the one that was asked for
_SEVERAL = "the answer holds several profiles"


@dataclass(frozen=True)
class Profile:
    """A usable answer: ``summarization`` is the profile, ``reasoning`` what it rests on."""

    summarization: str
    reasoning: str


class Unusable(Exception):
    """An answer that is no profile.

    Attributes:
        reason: in a few words, shown to the model when it is asked again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def message_of(body: Any) -> Mapping[str, Any] | None:
    """Return the message in the body of a chat completion, None where there is none."""
    try:
        message = body["choices"][0]["message"]
    except (KeyError, IndexError, TypeError):
        return None
    return message if isinstance(message, Mapping) else None


def failure_in(body: Any) -> AnsweredError | None:
    """Return the error that stands in the place of a completion, None where there is none.

    Gateways send it with status 200 when the model behind them fails: instead of the choices, or
    in the only one.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not choices:
        return error_in(body)
    choice = choices[0] if isinstance(choices, list) else None
    if isinstance(choice, Mapping) and choice.get("finish_reason") == "error":
        return error_in({"error": choice.get("error") or "the model behind the server failed"})
    return None


def thought_in(body: Any) -> bool:
    """Whether the model thought before it answered, as far as its answer tells."""
    message = message_of(body)
    if message is None:
        return False
    usage = body.get("usage") if isinstance(body, Mapping) else None
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    tokens = details.get("reasoning_tokens") if isinstance(details, Mapping) else None
    return read_message(message).thought or (isinstance(tokens, int) and tokens > 0)


def read_response(body: Any, most_words: int) -> Profile:
    """Return the profile in the body of a chat completion.

    Raises:
        Unusable: it is refused, cut, empty, too long, or not the JSON that was asked for.
    """
    message = message_of(body)
    if message is None:
        raise Unusable("the server's answer is no chat completion")
    finish = str(body["choices"][0].get("finish_reason")).lower()
    told = read_message(message)
    if told.refusal or finish in _HELD_BACK:
        raise Unusable("the model refused")
    thought = thought_in(body)
    if finish in _CUT:
        if thought and _is_silent(told.answer):
            raise Unusable("the answer was cut off in the model's thoughts: it is too long")
        try:  # what was cut off may be blanks without end behind the whole object
            return _profile(told, most_words, ended=False)
        except Unusable:
            raise Unusable("the answer was cut off: it is too long") from None
    if _is_silent(told.answer):
        if thought:
            raise Unusable("the answer is empty beside the model's thoughts")
        if message.get("tool_calls") or message.get("function_call"):
            raise Unusable("the model called a tool instead of answering")
    return _profile(told, most_words)


def read_content(content: Any, most_words: int) -> Profile:
    """Return the profile in the content of a message.

    Raises:
        Unusable: see :func:`read_response`.
    """
    return _profile(read_message({"content": content}), most_words)


def _is_silent(answer: str | Mapping[str, Any]) -> bool:
    return not answer or (isinstance(answer, str) and not without_thoughts(answer).strip())


def _profile(told: Message, most_words: int, ended: bool = True) -> Profile:
    if not told.answer or (isinstance(told.answer, str) and not told.answer.strip()):
        raise Unusable("the answer is empty")
    summary, reasoning = _said(told.answer, ended)
    summary = _clean(summary)
    if not summary or summary.lower() in ("none", "null", "n/a"):
        raise Unusable('the "summarization" is empty')
    words = len(summary.split())
    if words > most_words:
        raise Unusable(f'the "summarization" is too long: {words} words')
    return Profile(summary, _clean(reasoning))


def _said(answer: str | Mapping[str, Any], ended: bool) -> tuple[str, str]:
    """Return the summarization and the reasoning, of which the answer must have one reading."""
    try:
        objects = [answer] if isinstance(answer, Mapping) else _objects(answer, ended)
        asked = [one for found in objects for one in _asked_for(found, _DEPTH)]
    except Ambiguous:
        raise Unusable(_SEVERAL) from None
    readings = {(_text(one["summarization"]), _text(one.get("reasoning")) or "") for one in asked}
    usable = {(summary, why) for summary, why in readings if summary is not None}
    if len(usable) > 1:
        raise Unusable(_SEVERAL)
    if not usable:
        raise Unusable('the answer has no text "summarization"')
    summary, reasoning = usable.pop()
    return str(summary), reasoning


def _objects(answer: str, ended: bool) -> list[Mapping[str, Any]]:
    """Return the JSON objects of a text, the model's thoughts left out."""
    text = answer.strip().lstrip("\ufeff")
    try:
        whole, parsed = json.loads(text), True
    except (ValueError, RecursionError):
        # Tags within a text of JSON are none of the model's; so only now.
        text, parsed = without_thoughts(text), False
    else:
        text = whole if isinstance(whole, str) else text  # JSON in a text of JSON
    found = list(objects_in(text, ended))
    if not found:
        raise Unusable(f"the answer is {'not a JSON object' if parsed else 'not valid JSON'}")
    return list(found)


def _asked_for(found: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield what has a summarization in an object, itself or within; its keys in small letters."""
    if isinstance(found, list) and depth:
        for one in found:
            yield from _asked_for(one, depth - 1)
    if not isinstance(found, Mapping):
        return
    named: dict[str, Any] = {}
    for key, value in found.items():
        if named.setdefault(str(key).strip().lower(), value) != value:
            raise Ambiguous(key)
    if "summarization" in named:
        yield named
    elif depth:
        for value in found.values():
            yield from _asked_for(value, depth - 1)


def _text(value: Any) -> str | None:
    """Return a text, or the sentences of a list as one; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return " ".join(value)
    return None


def _clean(text: str) -> str:
    """Return a text on one line that UTF-8 can hold: JSON may spell half of a surrogate pair."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())

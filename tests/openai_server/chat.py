"""Chat completions: an answer that is a hash of its prompt, and all that can be wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .errors import ApiError, model_not_found
from .plan import Plan

__all__ = ["answer_for", "chat_completion", "prompt_hash", "prompt_of"]

_WORDS = ["quiet", "bright", "long", "slow", "early", "local", "classic", "strange", "warm"]


def prompt_of(body: Mapping[str, Any]) -> str:
    """The prompt of a chat request: its first user message.

    A client that asks again may add its reason in further messages; that is the same prompt.
    """
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            return _text(message.get("content"))
    return ""


def prompt_hash(prompt: str) -> str:
    """16 hexadecimal digits that stand for ``prompt`` in answers and logs."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answer_for(prompt: str) -> dict[str, str]:
    """The profile that the server answers to ``prompt``, where no fault is planned."""
    digest = prompt_hash(prompt)
    words = [_WORDS[int(digit, 16) % len(_WORDS)] for digit in digest[:8]]
    return {
        "summarization": f"Profile {digest}: likes “{' '.join(words)}” things.",
        "reasoning": f'It\'s of a prompt of {len(prompt)} characters that begins "{prompt[:24]}".',
    }


def chat_completion(
    plan: Plan, body: Mapping[str, Any], number: int, fault: str | None, created: int
) -> dict[str, Any]:
    """The object ``chat.completion`` that answers ``body``.

    Args:
        plan: says what the server supports.
        body: the request.
        number: of the request, for the answer's id.
        fault: one of :data:`.plan.CONTENT_KINDS`; others change nothing here.
        created: seconds since 1970.

    Raises:
        ApiError: the request is wrong, or asks for what the plan has not.
    """
    messages = _checked_messages(plan, body)
    schema = _asked_schema(plan, body, messages)
    prompt = prompt_of(body)
    choice = _choice(plan, prompt, schema, fault)
    if plan.thinks_unless is not None and body.get(plan.thinks_unless) is None:
        choice["message"]["reasoning_content"] = "It thinks about it."
    for name in ("max_tokens", "max_completion_tokens"):
        _cut_at(choice, _whole(body, name, default=2**31, most=2**31))
    copies = _whole(body, "n", default=1, most=128)
    choices = [] if fault == "no_choices" else [{**choice, "index": i} for i in range(copies)]
    prompt_tokens = sum(len(text.split()) for text in messages)
    completion_tokens = sum(len(_text(c["message"]["content"]).split()) for c in choices)
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": created,
        "model": body["model"],
        "choices": choices,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _text(content: object) -> str:
    """A message's content as text: a string, or the text parts of a list."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _whole(body: Mapping[str, Any], name: str, *, default: int, most: int) -> int:
    """A parameter that is an integer from 1 to ``most``."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or not 1 <= value <= most:
        raise ApiError(400, f"Invalid '{name}': no integer from 1 to {most}.", param=name)
    return value


def _checked_messages(plan: Plan, body: Mapping[str, Any]) -> list[str]:
    """The texts of all messages of a request that the plan allows."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "Missing required parameter: 'messages'.", param="messages")
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
        raise ApiError(400, "Invalid 'messages': each needs a role.", param="messages")
    if not isinstance(body.get("model"), str):
        raise ApiError(400, "you must provide a model parameter")
    if body["model"] not in plan.models:
        raise model_not_found(body["model"])
    if body.get("stream"):
        raise ApiError(400, "This server does not stream.", param="stream")
    for name in plan.unsupported:
        if body.get(name) is not None:
            raise _unsupported(name, f"Unsupported parameter: '{name}' with this model.")
    if plan.no_system is not None and any(m["role"] == "system" for m in messages):
        raise ApiError(400, plan.no_system)
    texts = [_text(message.get("content")) for message in messages]
    words = sum(len(text.split()) for text in texts)
    if plan.context_tokens is not None and words > plan.context_tokens:
        raise ApiError(
            400,
            f"This model's maximum context length is {plan.context_tokens} tokens. However, your "
            f"messages resulted in {words} tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )
    return texts


def _unsupported(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="unsupported_parameter")


def _asked_schema(
    plan: Plan, body: Mapping[str, Any], messages: list[str]
) -> Mapping[str, Any] | None:
    """The JSON schema that the answer must follow, if one is asked for."""
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if form is None or kind == "text":
        return None
    if kind not in {"json_object", "json_schema"}:
        raise ApiError(400, f"Invalid value: '{kind}'.", param="response_format.type")
    if plan.structured == "none" or (kind == "json_schema" and plan.structured == "json_object"):
        raise _unsupported(
            "response_format",
            f"Invalid parameter: 'response_format' of type '{kind}' is not supported with this "
            "model.",
        )
    if kind == "json_object":
        if not any("json" in text.lower() for text in messages):
            raise ApiError(
                400,
                "'messages' must contain the word 'json' in some form, to use 'response_format' "
                "of type 'json_object'.",
                param="messages",
            )
        return None
    return _checked_schema(form.get("json_schema"))


def _checked_schema(given: object) -> Mapping[str, Any]:
    """The schema of ``response_format.json_schema``, held to OpenAI's rules for strict ones."""
    if not isinstance(given, dict) or not given.get("name"):
        raise ApiError(
            400,
            "Missing required parameter: 'response_format.json_schema.name'.",
            param="response_format.json_schema.name",
            code="missing_required_parameter",
        )
    schema = given.get("schema")
    wrong = ""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        wrong = "schema must be a JSON Schema of 'type: \"object\"'"
    elif given.get("strict"):
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            wrong = "'additionalProperties' is required to be supplied and to be false"
        elif set(schema.get("required", ())) != set(properties):
            wrong = "'required' is required to be supplied and to include every key in properties"
    if wrong:
        raise ApiError(
            400,
            f"Invalid schema for response_format '{given['name']}': In context=(), {wrong}.",
            param="response_format",
        )
    return schema  # type: ignore[return-value]


def _value(name: str, schema: Mapping[str, Any], prompt: str) -> Any:
    """A value that ``schema`` allows and that is a hash of ``prompt``."""
    if schema.get("enum"):
        return schema["enum"][int(prompt_hash(prompt), 16) % len(schema["enum"])]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {key: _value(key, sub, prompt) for key, sub in schema.get("properties", {}).items()}
    if kind == "array":
        return [_value(name, schema.get("items", {}), prompt)]
    if kind in {"integer", "number"}:
        return int(prompt_hash(prompt)[:4], 16)
    if kind in {"boolean", "null"}:
        return True if kind == "boolean" else None
    return answer_for(prompt).get(name, f"{name} {prompt_hash(prompt)}")


def _choice(
    plan: Plan, prompt: str, schema: Mapping[str, Any] | None, fault: str | None
) -> dict[str, Any]:
    """The choice with the right answer, or with what ``fault`` makes of it."""
    right = answer_for(prompt) if schema is None else _value("answer", schema, prompt)
    text = json.dumps(right, ensure_ascii=False)
    content: str | None = text
    refusal: str | None = None
    finish = "stop"
    if fault == "truncated":
        content, finish = text[: len(text) // 2], "length"
    elif fault == "prose":
        content = "Certainly! The customer seems to like {quiet} books, as the reviews show."
    elif fault == "fenced":
        content = f"Here is the profile:\n\n```json\n{text}\n```\nIs there anything else?"
    elif fault == "single_quotes":
        content = str(right)
    elif fault == "wrong_keys":
        content = json.dumps({"summary": "a profile", "reason": "no reason"})
    elif fault == "wrong_type":
        content = json.dumps({**right, "summarization": ["a", "list"]})
    elif fault == "think_tags":
        content = f"<think>I {{thought about it}}: {{'summarization': 'no'}}.</think>\n\n{text}"
    elif fault == "empty":
        content = ""
    elif fault == "null_content":
        content = None
    elif fault == "refusal":
        content, refusal = None, "I'm sorry, but I can't assist with that request."
    elif fault == "content_filter":
        content, finish = None, "content_filter"
    elif fault == "too_long":
        content = json.dumps({**right, "summarization": " ".join(["long"] * plan.long_words)})
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    thoughts = {"summarization": "It thought about it.", "reasoning": ""}
    if fault == "parts":
        part = {"type": "thinking", "thinking": [{"type": "text", "text": json.dumps(thoughts)}]}
        message["content"] = [part, {"type": "text", "text": text}]
    elif fault == "reasoning_beside":
        message["reasoning_content"] = json.dumps(thoughts)
    elif fault in ("only_thoughts", "cut_in_thoughts"):
        message.update(content=None, reasoning_content=text)
        finish = "length" if fault == "cut_in_thoughts" else "stop"
    return {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish,
    }


def _cut_at(choice: dict[str, Any], limit: int) -> None:
    """Cut the content after ``limit`` words, as ``max_tokens`` does."""
    content = choice["message"]["content"]
    if isinstance(content, str) and len(content.split()) > limit:
        choice["message"]["content"] = " ".join(content.split()[:limit])
        choice["finish_reason"] = "length"

"""The body of a request: how long the answer may be, in which form it shall come."""

from __future__ import annotations

import re
from typing import Any

from recbole_darec.llm.client import Server, ServerError, explain, is_own
from recbole_darec.llm.words import said
from recbole_darec.profiles.plan import Generation
from recbole_darec.profiles.thinking import about_thinking, named_in, thinking_fields

__all__ = ["RequestForm"]

_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "profile",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "summarization": {"type": "string"},
                "reasoning": {"type": "string"},
            },
            "required": ["summarization", "reasoning"],
            "additionalProperties": False,
        },
    },
}
_FORMATS = {"schema": _SCHEMA, "json": {"type": "json_object"}, "none": None}


# As the templates of Gemma 2, of Mistral's first models and of Ministral refuse a system message.
_NO_SYSTEM = re.compile(
    r"system role|roles must alternate|got system|system messages? (?:is|are) not", re.IGNORECASE
)


class RequestForm:
    """What a request holds, adapted to what the server knows.

    Args:
        options: how the model is asked.
        server: which server.
    """

    def __init__(self, options: Generation, server: Server) -> None:
        self.options = options
        self.server = server
        self._format = "schema" if self.options.structured == "auto" else self.options.structured
        # OpenAI's newer models refuse the old name, and other servers know only that.
        own_server = is_own(server)
        self._length_field = "max_tokens" if own_server else "max_completion_tokens"
        self._length_fixed = False
        self._system = True  # whether the instruction goes in a message of its own
        self._thinking = thinking_fields(options.thinking, openai=not own_server)

    def body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Return the body of a request."""
        body: dict[str, Any] = {
            "model": self.options.model,
            "messages": messages if self._system else _in_one(messages),
            self._length_field: self.options.max_tokens,
            **self._thinking,
        }
        if self.options.temperature is not None:
            body["temperature"] = self.options.temperature
        form = _FORMATS[self._format]
        if form is not None:
            body["response_format"] = form
        return body

    def adapt(self, error: Exception, request: dict[str, Any], answered_any: bool) -> bool:
        """Drop what the server does not know; returns whether the request may be sent again.

        Args:
            error: why the server refused.
            request: what it refused.
            answered_any: whether it has answered another request.

        Raises:
            ServerError: it does not know an option that the user gave.
        """
        message = said(error).lower()
        asked = thinking_fields(self.options.thinking, openai=not is_own(self.server))
        unknown = named_in(message, [name for name in asked if name in request])
        for name in unknown:
            self._thinking.pop(name, None)
        form = request.get("response_format")
        formless = form is not None and any(
            word in message for word in ("response_format", "json_schema", "json_object", "schema")
        )
        if formless:
            if self.options.structured != "auto":
                raise ServerError(
                    f"the server does not know --structured={self.options.structured} "
                    f"({explain(error, self.server)}): leave it out"
                )
            if form == _FORMATS[self._format]:  # else another request has found it out already
                self._format = "json" if self._format == "schema" else "none"
        refuses_thinking = about_thinking(message) and not (formless or answered_any)
        if asked and (unknown or refuses_thinking) and (not self._thinking or not unknown):
            raise ServerError(
                f"the server does not take --thinking={self.options.thinking} "
                f"({explain(error, self.server)}): give another value, or leave it out"
            )
        if unknown or formless:
            return True
        if _NO_SYSTEM.search(message) and request["messages"][0]["role"] == "system":
            self._system = False
            return True
        for known, other in (
            ("max_completion_tokens", "max_tokens"), ("max_tokens", "max_completion_tokens")
        ):  # fmt: skip
            if known in request and known in message and not answered_any:
                again, self._length_fixed = not self._length_fixed, True
                self._length_field = other
                return again
        if "temperature" in message and "temperature" in request and not answered_any:
            raise ServerError(
                f"the model does not take this temperature ({explain(error, self.server)}): give "
                "--temperature=none"
            )
        return False


def _in_one(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put the instruction before what is asked, in one message of the user."""
    return [{"role": "user", "content": "\n\n".join(one["content"] for one in messages)}]

"""``--thinking``: how long a reasoning model may think, in the forms that servers take.

There is no common form.  OpenAI and Gemini take ``reasoning_effort``, and so do Ollama, OpenRouter
and newer vLLM; vLLM, SGLang and llama.cpp hand ``chat_template_kwargs`` to the model's template
(Qwen and GLM read ``enable_thinking``, DeepSeek and Granite ``thinking``); Qwen's own API takes
``enable_thinking``, those of DeepSeek, GLM and Kimi a ``thinking`` object.  A server that does not
know a field passes over it or names it in its refusal; so all are sent, and what is named is left
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from recbole_darec.profiles.options import THINKING

__all__ = ["about_thinking", "named_in", "thinking_fields"]

# Names that servers give a field in their refusals beside its own.
_ALSO = {"chat_template_kwargs": r"chat_template\w*"}


def thinking_fields(thinking: str | None, openai: bool) -> dict[str, Any]:
    """Return the fields of a request that ask for so much thinking.

    Args:
        thinking: one of :data:`.options.THINKING`, a number of tokens, or None for no field.
        openai: whether OpenAI's own server is asked, which refuses any field but its own.
    """
    if thinking is None:
        return {}
    if thinking in THINKING:
        on = thinking != "off"
        effort: dict[str, Any] = {"reasoning_effort": thinking if on else "none"}
        if openai:
            return effort
        return {
            **effort,
            "chat_template_kwargs": {"enable_thinking": on, "thinking": on},
            "enable_thinking": on,
            "thinking": {"type": "enabled" if on else "disabled"},
        }
    tokens = int(thinking)
    return {
        "thinking_token_budget": tokens,  # vLLM
        "thinking_budget_tokens": tokens,  # llama.cpp
        "thinking_budget": tokens,  # Qwen's API
        "reasoning": {"max_tokens": tokens},  # OpenRouter
    }


def named_in(words: str, fields: Iterable[str]) -> list[str]:
    """Return which fields of a request a server's refusal names."""
    return [
        name
        for name in fields
        if re.search(rf"(?<!\w){_ALSO.get(name, name)}(?!\w)", words, re.IGNORECASE)
    ]


def about_thinking(words: str) -> bool:
    """Whether a refusal is about thinking, in whatever words."""
    return re.search(r"think|reasoning|effort", words, re.IGNORECASE) is not None

"""What a model's message says: its answer, apart from its thoughts and its refusal.

Servers put the thoughts of a reasoning model beside the answer (``reasoning_content``,
``reasoning``, ``thinking``), into parts of their own, or before the answer between tags.  They are
never taken for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Message", "read_message", "without_thoughts"]

# Beside the content: DeepSeek, vLLM, SGLang, llama.cpp; OpenRouter, Ollama, newer vLLM; others.
_BESIDE = ("reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_details")
_TEXT_PARTS = ("text", "output_text")
_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "redacted_thinking", "thought")

_NAME = r"(?:seed:|antml:)?(?:think|thinking|thought|thoughts|reasoning|analysis|scratchpad)"
# Tags as DeepSeek and Qwen write them, then Mistral, Kimi, Cohere, MedGemma, Gemma, gpt-oss.
_OPEN = re.compile(
    rf"<{_NAME}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<unused94>(?:thought)?"
    r"|<\|channel>thought|(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)<\|message\|>",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_NAME}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<unused95>|<channel\|>"
    r"|<\|channel\|>final(?: ?<\|constrain\|>\w*)?<\|message\|>",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Message:
    """One message of a model.

    Attributes:
        answer: the text of the answer, which may have thoughts between tags in it; an object where
            the server has read the JSON already.
        thought: whether thoughts came beside it or before it.
        refusal: the model's words of refusal, or "".
    """

    answer: str | Mapping[str, Any]
    thought: bool
    refusal: str


def read_message(message: Mapping[str, Any]) -> Message:
    """Return what the ``message`` of a chat completion says.

    The content may be a text, an object, or a list of parts: texts,
    ``{"type": "text", "text": …}``, and parts of thoughts or refusals.
    """
    content = message.get("content")
    thought = any(_holds_text(message.get(name)) for name in _BESIDE)
    refusal = message.get("refusal")
    refused = [refusal] if isinstance(refusal, str) else ["yes"] if refusal else []
    if isinstance(content, Mapping) and "type" not in content:
        return Message(content, thought, "".join(refused))
    texts = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind, text = part.get("type", "text"), part.get("text")
            if kind in _TEXT_PARTS and isinstance(text, str) and not part.get("thought"):
                texts.append(text)
            elif kind in _THOUGHT_PARTS or part.get("thought"):
                thought = thought or _holds_text(part)
            elif kind == "refusal":
                refused.append(str(part.get("refusal") or "yes"))
    answer = "".join(texts)
    return Message(answer, thought or _has_thoughts(answer), "".join(refused))


def without_thoughts(text: str) -> str:
    """Return a text without what stands between the tags of thoughts.

    Where the first tag is a closing one, the opening one stood in the prompt: the thoughts are all
    before it.  Where the last one is an opening one, the thoughts have not ended.
    """
    last = max((closing.end() for closing in _CLOSE.finditer(text)), default=0)
    text = text[last:]
    opening = _OPEN.search(text)
    return text if opening is None else text[: opening.start()]


def _has_thoughts(text: str) -> bool:
    rest = _OPEN.sub("", text[: len(text) - len(without_thoughts(text))])
    if _CLOSE.sub("", rest).strip():
        return True
    opening = _OPEN.search(text)
    return opening is not None and _CLOSE.search(text) is None and bool(text[opening.end() :])


def _holds_text(value: Any) -> bool:
    """Whether there are letters anywhere in a field of thoughts; names of types do not count."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, Mapping):
        return any(_holds_text(one) for name, one in value.items() if name not in ("type", "id"))
    return isinstance(value, list) and any(map(_holds_text, value))

"""How many tokens a text has: counted where tiktoken can do it offline, else estimated."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["TokenCounter", "estimate_tokens", "token_counter"]

# tiktoken fetches its vocabularies from here and keeps them under the digest of the address.
_VOCABULARIES = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_MESSAGE_TOKENS = 4  # what a chat message costs beside its text


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens.

    Attributes:
        count: from a text to its number of tokens.
        exact: whether that is the model's own count.
        how: how it is counted, for people.
    """

    count: Callable[[str], int]
    exact: bool
    how: str

    def messages(self, messages: list[dict[str, str]]) -> int:
        """Return the tokens of a chat's messages."""
        return sum(self.count(m["content"]) + _MESSAGE_TOKENS for m in messages)


def estimate_tokens(text: str) -> int:
    """Estimate: four ASCII characters are a token, and every other character is one."""
    ascii_characters = sum(character < "\x80" for character in text)
    return -(-ascii_characters // 4) + len(text) - ascii_characters


def token_counter(model: str) -> TokenCounter:
    """Return tiktoken's counter for ``model`` if its vocabulary is on this machine, else estimate.

    Nothing is downloaded: a vocabulary counts only when tiktoken has fetched it before.
    """
    try:
        import tiktoken
    except ImportError:
        return TokenCounter(estimate_tokens, False, "estimated, 4 characters a token")
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return TokenCounter(
            estimate_tokens, False, f"estimated, 4 characters a token: {model} has a tokenizer "
            "of its own"
        )  # fmt: skip
    encoding: Any = None
    if _cached(name):
        try:
            encoding = tiktoken.get_encoding(name)
        except Exception:  # a damaged file is fetched again, which fails as the network does
            encoding = None
    if encoding is None:
        return TokenCounter(
            estimate_tokens, False, "estimated, 4 characters a token: tiktoken has not fetched "
            f"{name} on this machine"
        )  # fmt: skip
    return TokenCounter(lambda text: len(encoding.encode_ordinary(text)), True, f"tiktoken {name}")


def _cached(encoding: str) -> bool:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if folder is None:
        folder = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    address = _VOCABULARIES.format(encoding)
    digest = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    return bool(folder) and (Path(folder) / digest).is_file()

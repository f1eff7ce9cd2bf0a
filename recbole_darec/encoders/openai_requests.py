"""The requests of an embedding model behind the OpenAI protocol, and what its answers mean."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from recbole_darec.encoders.base import Encoded, check_rows
from recbole_darec.errors import EmbeddingError, UserError
from recbole_darec.llm.client import Server, ServerError, explain
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.words import AnsweredError, error_in, said

__all__ = [
    "MAX_INPUTS",
    "Asked",
    "EmbeddingModel",
    "RefusedTogether",
    "TooLong",
    "address_of",
    "request_slices",
]

MAX_INPUTS = 2048  # texts of one request
_TRIES = 3  # of a request whose answer came and cannot be used
_SHOWN = 40  # characters of a text that is refused

# What servers say of a text, or of all texts together, that is too long.
_TOO_LONG = re.compile(
    r"maximum context length|context.length|context window|context size|too long|too many tokens"
    r"|too large|less than \d+ tokens|max_tokens_per_request|tokens per request|max_model_len"
    r"|range of input length|at most \d+ characters|exceeds? .{0,60}(tokens|length|limit)",
    re.IGNORECASE,
)
# What they say of too many texts has a number behind one of these words, and is not of tokens.
_LIMIT = re.compile(
    r"(?:at most|up to|(?:larg|great|high)er than|more than|exceed\w*|max\w*|limit\w*|[<>]=?)"
    r"\D{0,40}?(\d[\d,]*)",
    re.IGNORECASE,
)
_OF_FORM = re.compile(r"base64|encoding_format", re.IGNORECASE)
_NUMBERS = "float"
_OF_LENGTH = re.compile(r"token|character|context|physical batch", re.IGNORECASE)


class TooLong(Exception):
    """The server finds a text, or the texts of a request together, too long."""


class RefusedTogether(Exception):
    """The server refuses several texts in one request, perhaps because it takes fewer at once.

    Attributes:
        limit: how many it says it takes; None where it does not say so.
    """

    def __init__(self, limit: int | None) -> None:
        super().__init__()
        self.limit = limit


@dataclass
class Asked:
    """What the requests of one event loop share."""

    client: Any
    rate: RateLimit


class EmbeddingModel:
    """A model of a server.

    Args:
        name: as the user wrote it after ``--encoder=``.
        model: the server's name for it.
        dimensions: that the server shall give; None leaves it to the model.
        server: which server.

    Attributes:
        revision: what the server calls the model in its answers; None before the first.
    """

    def __init__(self, name: str, model: str, dimensions: int | None, server: Server) -> None:
        self.revision: str | None = None
        self.where = f"the server {address_of(server)}"
        self._name = name
        self._model = model
        self._dimensions = dimensions
        self._server = server
        self._form = "base64"  # a third of the bytes; some servers know numbers alone

    async def ask(self, asked: Asked, texts: Sequence[str], tokens: float) -> Encoded:
        """Send one request, again where the answer that came cannot be used.

        Raises:
            TooLong: the server says so.
            RefusedTogether: it refuses, and might not refuse fewer texts.
            ServerError: it refuses otherwise, or does not answer.
            EmbeddingError: it answers with what is no embedding.
        """
        options = {} if self._dimensions is None else {"dimensions": self._dimensions}
        for left in reversed(range(_TRIES)):
            await asked.rate.wait(tokens)
            form = self._form
            try:
                answer = await asked.client.embeddings.create(
                    model=self._model, input=list(texts), encoding_format=form, **options
                )
                rows = self.read(answer, len(texts))
            except ValueError as error:  # cut off JSON, base64 that is none, a wrong list
                if left:
                    continue
                raise EmbeddingError(
                    f"{self.where} gave {_TRIES} answers that cannot be read "
                    f"({explain(error, self._server)}): see whether --base-url is right, or give "
                    "a smaller --batch-size; what came before is in the store"
                ) from None
            except UserError:
                raise
            except Exception as error:
                if form != _NUMBERS and _OF_FORM.search(said(error)) is not None:
                    self._form = _NUMBERS
                    return await self.ask(asked, texts, tokens)
                refusal = self._refusal(error, texts)
                if left and isinstance(error, AnsweredError) and isinstance(refusal, ServerError):
                    continue  # the client repeats what has an error status, and not this
                raise refusal from None
            used = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
            if isinstance(used, int):
                asked.rate.settle(tokens, used)
            self.revision = getattr(answer, "model", None) or self._model
            return Encoded(rows, np.ones(len(texts), dtype=np.int64))
        raise AssertionError("unreachable")

    def read(self, answer: Any, n: int) -> np.ndarray:
        """Return the rows of an answer to ``n`` texts by index, (n, d) float32.

        Raises:
            AnsweredError: it tells of an error in place of rows.
            ValueError: it has not the rows 0 to n-1, once each and of one width.
            EmbeddingError: the width is not that asked for, or a number is not finite.
        """
        data = getattr(answer, "data", None)
        failure = None if data else error_in(answer)
        if failure is not None:
            raise failure
        found = {row.index: _vector_of(row.embedding) for row in data or ()}
        if sorted(found) != list(range(n)):
            raise ValueError(f"{len(found)} embeddings for {n} texts")
        if len({row.shape for row in found.values()}) != 1:
            raise ValueError("embeddings of several widths")
        rows = check_rows(np.stack([found[k] for k in range(n)]), n, self._name)
        if self._dimensions not in (None, rows.shape[1]):
            raise EmbeddingError(
                f"{self.where} gives rows of width {rows.shape[1]} where {self._dimensions} "
                f"were asked for: write --encoder=openai:{self._model} without @"
            )
        return rows

    def _refusal(self, error: Exception, texts: Sequence[str]) -> Exception:
        """Return what to raise for an error of the client, which has made its retries."""
        import openai

        if not isinstance(error, (openai.OpenAIError, AnsweredError)):
            return error
        line, words = explain(error, self._server), said(error)
        status = getattr(error, "status_code", None)
        unclear = isinstance(error, AnsweredError) and status is None
        if len(texts) > 1 and (unclear or status in (400, 413, 422)):
            limit = _fewer(words, len(texts))
            if limit is not None:
                return RefusedTogether(limit)
        if status == 413 or (
            (unclear or status in (400, 422, 500)) and _TOO_LONG.search(words) is not None
        ):
            return TooLong(line)
        if status in (400, 422) and len(texts) > 1:
            return RefusedTogether(None)
        if status in (401, 403):
            way = f"set {self._server.key_variable} in the environment to a key that it knows"
        elif status == 404:
            way = "check the model's name and --base-url"
        elif status in (400, 422) and self.revision is not None:
            way = f"it takes other texts; see to the one that begins '{texts[0][:_SHOWN]}'"
        elif status in (400, 422):
            way = f"check --encoder={self._name}"
        elif getattr(error, "code", None) == "insufficient_quota":
            way = "the account has no money left; what came before is in the store"
        else:
            way = "run the command again later: what came before is in the store"
        return ServerError(f"{self.where} refuses ({line}): {way}")


def _fewer(words: str, n: int) -> int | None:
    """Return how many texts a request may have, as a refusal of ``n`` says it; None if it does not.

    Of several numbers the largest below ``n`` is meant: others count errors, or what was sent.
    """
    if _OF_LENGTH.search(words):
        return None
    told = [int(number.replace(",", "")) for number in _LIMIT.findall(words)]
    return max((limit for limit in told if 1 <= limit < n), default=None)


def address_of(server: Server) -> str:
    """Return the server's address without user, password and query, which may be secrets."""
    url = server.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # told when the server is to be asked
        return "no address"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


def request_slices(tokens: np.ndarray, most: float) -> Iterator[slice]:
    """Yield slices of the pieces that make one request each, of ``most`` tokens where it can be."""
    start, total = 0, 0
    for k, size in enumerate(tokens.tolist()):
        if k > start and (k - start == MAX_INPUTS or total + size > most):
            yield slice(start, k)
            start, total = k, 0
        total += size
    yield slice(start, len(tokens))


def _vector_of(value: Any) -> np.ndarray:
    """Return one embedding, base64 of little-endian float32 or a list of numbers, as (d,)."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim == 2 and len(vector) == 1:  # as llama.cpp gives a pooled one
        vector = vector[0]
    if vector.ndim != 1:
        raise ValueError("an embedding is no list of numbers")
    return vector

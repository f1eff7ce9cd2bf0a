"""Encode texts with an embedding model behind the OpenAI protocol."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_darec.encoders.base import (
    Batches,
    Encoded,
    EncodedBatches,
    Encoder,
    check_rows,
    joined,
)
from recbole_darec.encoders.long_texts import Pieces, cut, pool, split_long
from recbole_darec.encoders.openai_requests import (
    MAX_INPUTS,
    address_of,
    request_slices,
    vector_of,
)
from recbole_darec.errors import EmbeddingError, OptionError, UserError
from recbole_darec.llm.client import Server, ServerError, connect, explain
from recbole_darec.llm.in_thread import iterate
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.tokens import token_counter

__all__ = ["BATCH_SIZE", "MAX_INPUTS", "MAX_TOKENS", "OpenAIEncoder"]

BATCH_SIZE = 256
MAX_TOKENS = 8191  # of one text, of OpenAI's models
_REQUEST_TOKENS = 250_000  # of one request, where OpenAI takes 300,000
_BATCH_CHARACTERS = 400_000
_TRIES = 3  # of a request whose answer came and cannot be used
_SHORTEST = 16  # characters; a text so short is not too long, whatever the server says

# What servers say of a text, or of all texts together, that is too long.
_TOO_LONG = re.compile(
    r"maximum context length|context.length|context window|context size|too long|too many tokens"
    r"|too large|less than \d+ tokens|max_tokens_per_request|tokens per request|max_model_len"
    r"|exceeds? .{0,60}(tokens|length|limit)",
    re.IGNORECASE,
)


class OpenAIEncoder(Encoder):
    """An embedding model of a server, asked several times at once.

    Args:
        model: the server's name for it.
        dimensions: that the server shall give; None leaves it to the model.
        server: which server, and how patiently; the key comes from the environment alone.
        batch_size: texts a request, 1 to 2048.
        requests_per_minute: None for no limit.
        tokens_per_minute: None for no limit.
        max_tokens: of one text; None: 8191.

    Raises:
        OptionError: a number is out of range.
    """

    batch_characters = _BATCH_CHARACTERS
    packages = ("openai",)

    def __init__(
        self,
        model: str,
        dimensions: int | None = None,
        *,
        server: Server | None = None,
        batch_size: int = BATCH_SIZE,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        if not 1 <= batch_size <= MAX_INPUTS:
            raise OptionError(
                f"batch_size is {batch_size}: a request takes 1 to {MAX_INPUTS:,} texts"
            )
        if max_tokens is not None and max_tokens < 1:
            raise OptionError(f"--max-tokens must be at least 1, not {max_tokens}")
        self.name = f"openai:{model}" + ("" if dimensions is None else f"@{dimensions}")
        self.batch_size = batch_size
        self._model = model
        self._dimensions = dimensions
        self._server = server or Server()
        self._rates = (requests_per_minute, tokens_per_minute)
        self._max_tokens = max_tokens or MAX_TOKENS
        # Where a text is split only by default, OpenAI's own limit, a change of it is no matter.
        own_limit = "" if max_tokens is None else f" max_tokens={max_tokens}"
        self.identity = f"{self.name} {address_of(self._server)}{own_limit}"
        self._revision: str | None = None
        self._counter = token_counter(model)

    @property
    def revision(self) -> str | None:
        """What the server calls the model in its answers."""
        return self._revision

    def encode_batches(self, batches: Batches) -> EncodedBatches:
        """See :class:`Encoder`.

        Raises:
            ServerError: the server refuses, or does not answer after the client's retries.
            EmbeddingError: its answers cannot be used.
        """
        yield from iterate(self._stream(batches))

    async def _stream(self, batches: Batches) -> AsyncGenerator[tuple[int, Encoded], None]:
        """Keep ``concurrency`` batches under way.

        After an error nothing more is sent, and what is under way, and will be paid, is waited for.
        """
        async with connect(self._server) as client:
            asked = _Asked(client, RateLimit(*self._rates))
            todo = iter(enumerate(batches))
            waiting: dict[asyncio.Task[Encoded], int] = {}
            failed: BaseException | None = None
            try:
                while True:
                    while failed is None and len(waiting) < self._server.concurrency:
                        number, batch = next(todo, (-1, ()))
                        if number < 0:
                            break
                        waiting[asyncio.ensure_future(self._encode(asked, batch))] = number
                    if not waiting:
                        break
                    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        number = waiting.pop(task)
                        error = task.exception()
                        if error is None:
                            yield number, task.result()
                        else:
                            failed = failed or error
                if failed is not None:
                    raise failed
            finally:
                await _cancel(waiting)

    async def _encode(self, asked: _Asked, texts: Sequence[str]) -> Encoded:
        """Encode one batch, its long texts in pieces, in as few requests as the limits allow."""
        pieces = split_long(texts, self._max_tokens, self._count)
        parts = []
        per_minute = self._rates[1]
        # The limiter lets a tenth of a minute's tokens pass at once.
        most = _REQUEST_TOKENS if per_minute is None else min(_REQUEST_TOKENS, per_minute / 10)
        for part in request_slices(pieces.tokens, most):
            parts.append(await self._rows(asked, pieces.texts[part], pieces.tokens[part]))
        encoded = joined(parts)
        return _pooled(encoded, pieces)

    def _count(self, texts: Sequence[str]) -> list[int]:
        """Count tokens; where they are estimated, a third more, to split rather than be refused."""
        counted = [self._counter.count(text) for text in texts]
        return counted if self._counter.exact else [-(-4 * n // 3) for n in counted]

    async def _rows(self, asked: _Asked, texts: Sequence[str], tokens: np.ndarray) -> Encoded:
        """Ask for the rows of ``texts``; where the server finds them too long, in halves."""
        try:
            return await self._ask(asked, texts, float(tokens.sum()))
        except _TooLong as error:
            if len(texts) > 1:
                half = len(texts) // 2
                return joined(
                    [
                        await self._rows(asked, texts[:half], tokens[:half]),
                        await self._rows(asked, texts[half:], tokens[half:]),
                    ]
                )
            halves = cut(texts[0], 2) if len(texts[0]) > _SHORTEST else []
            if len(halves) < 2:
                raise ServerError(f"{self._where()} refuses a short text: {error}") from None
        sizes = self._count(halves)
        encoded = await self._rows(asked, halves, np.asarray(sizes))
        return _pooled(encoded, Pieces(halves, sizes, [len(halves)]))

    async def _ask(self, asked: _Asked, texts: Sequence[str], tokens: float) -> Encoded:
        """Send one request, again where the answer that came cannot be used.

        Raises:
            _TooLong: the server says so.
            ServerError: it refuses otherwise, or does not answer.
            EmbeddingError: it answers with what is no embedding.
        """
        options = {} if self._dimensions is None else {"dimensions": self._dimensions}
        for left in reversed(range(_TRIES)):
            await asked.limit.wait(tokens)
            try:
                answer = await asked.client.embeddings.create(
                    model=self._model, input=list(texts), encoding_format="base64", **options
                )
                rows = self._read(answer, len(texts))
            except ValueError as error:  # cut off JSON, base64 that is none, a wrong list
                if left:
                    continue
                raise EmbeddingError(
                    f"{self._where()} gave {_TRIES} answers that cannot be read "
                    f"({explain(error, self._server)}): see whether --base-url is right; what "
                    "came before is in the store"
                ) from None
            except UserError:
                raise
            except Exception as error:
                raise self._refused(error) from None
            used = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
            if isinstance(used, int):
                asked.limit.settle(tokens, used)
            self._revision = getattr(answer, "model", None) or self._model
            return Encoded(rows, np.ones(len(texts), dtype=np.int64))
        raise AssertionError("unreachable")

    def _read(self, answer: Any, n: int) -> np.ndarray:
        """Return the rows of an answer by index, (n, d) float32.

        Raises:
            ValueError: it has not the rows 0 to n-1, once each and of one width.
            EmbeddingError: the width is not that asked for, or a number is not finite.
        """
        found = {row.index: vector_of(row.embedding) for row in getattr(answer, "data", None) or ()}
        if sorted(found) != list(range(n)):
            raise ValueError(f"{len(found)} embeddings for {n} texts")
        if len({row.shape for row in found.values()}) != 1:
            raise ValueError("embeddings of several widths")
        rows = check_rows(np.stack([found[k] for k in range(n)]), n, self.name)
        if self._dimensions not in (None, rows.shape[1]):
            raise EmbeddingError(
                f"{self._where()} gives rows of width {rows.shape[1]} where {self._dimensions} "
                f"were asked for: write --encoder=openai:{self._model} without @"
            )
        return rows

    def _refused(self, error: Exception) -> Exception:
        """Return what to raise for an error of the client, which has made its retries."""
        import openai

        if not isinstance(error, openai.OpenAIError):
            return error
        line = explain(error, self._server)
        status = getattr(error, "status_code", None)
        if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(str(error))):
            return _TooLong(line)
        if status in (401, 403):
            way = f"set {self._server.key_variable} in the environment to a key that it knows"
        elif status == 404:
            way = "check the model's name and --base-url"
        elif status in (400, 422):
            way = f"check --encoder={self.name}"
        elif getattr(error, "code", None) == "insufficient_quota":
            way = "the account has no money left; what came before is in the store"
        else:
            way = "run the command again later: what came before is in the store"
        return ServerError(f"{self._where()} refuses ({line}): {way}")

    def _where(self) -> str:
        return f"the server {address_of(self._server)}"


@dataclass
class _Asked:
    """What the requests of one event loop share."""

    client: Any
    limit: RateLimit = field(repr=False)


class _TooLong(Exception):
    """The server finds a text, or the texts of a request together, too long."""


def _pooled(encoded: Encoded, pieces: Pieces) -> Encoded:
    """Average pieces to texts; a piece that was itself split counts with its own pieces."""
    ends = np.cumsum(pieces.counts)
    whole = pool(encoded.rows, pieces)
    return Encoded(whole.rows, np.add.reduceat(encoded.pieces, ends - pieces.counts))


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

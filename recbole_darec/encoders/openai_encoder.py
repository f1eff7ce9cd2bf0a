"""Encode texts with an embedding model behind the OpenAI protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

import numpy as np

from recbole_darec.encoders.base import (
    Batches,
    Encoded,
    EncodedBatches,
    Encoder,
    joined,
)
from recbole_darec.encoders.long_texts import Pieces, cut, pool, split_long
from recbole_darec.encoders.openai_requests import (
    MAX_INPUTS,
    Asked,
    EmbeddingModel,
    RefusedTogether,
    TooLong,
    address_of,
    request_slices,
)
from recbole_darec.errors import OptionError
from recbole_darec.llm.client import Server, ServerError, connect
from recbole_darec.llm.in_thread import iterate
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.tokens import token_counter

__all__ = ["BATCH_SIZE", "MAX_INPUTS", "MAX_TOKENS", "OpenAIEncoder"]

BATCH_SIZE = 256
MAX_TOKENS = 8191  # of one text, of OpenAI's models
_REQUEST_TOKENS = 250_000  # of one request, where OpenAI takes 300,000
_BATCH_CHARACTERS = 400_000
_SHORTEST = 16  # characters; a text so short is not too long, whatever the server says


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
        self._server = server or Server()
        self._rates = (requests_per_minute, tokens_per_minute)
        self._max_tokens = max_tokens or MAX_TOKENS
        # Where a text is split only by default, OpenAI's own limit, a change of it is no matter.
        own_limit = "" if max_tokens is None else f" max_tokens={max_tokens}"
        self.identity = f"{self.name} {address_of(self._server)}{own_limit}"
        self._model = EmbeddingModel(self.name, model, dimensions, self._server)
        self._most_inputs = MAX_INPUTS  # of one request, until the server says less
        self._counter = token_counter(model)

    @property
    def revision(self) -> str | None:
        """What the server calls the model in its answers."""
        return self._model.revision

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
            asked = Asked(client, RateLimit(*self._rates))
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

    async def _encode(self, asked: Asked, texts: Sequence[str]) -> Encoded:
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

    async def _rows(self, asked: Asked, texts: Sequence[str], tokens: np.ndarray) -> Encoded:
        """Ask for the rows of ``texts``; in parts where the server finds them too long or many."""
        if len(texts) > self._most_inputs:
            return await self._fewer(asked, texts, tokens, self._most_inputs)
        try:
            return await self._model.ask(asked, texts, float(tokens.sum()))
        except RefusedTogether as refusal:
            return await self._fewer(asked, texts, tokens, refusal.limit)
        except TooLong as error:
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
                raise ServerError(f"{self._model.where} refuses a short text: {error}") from None
        sizes = self._count(halves)
        encoded = await self._rows(asked, halves, np.asarray(sizes))
        return _pooled(encoded, Pieces(halves, sizes, [len(halves)]))

    async def _fewer(
        self, asked: Asked, texts: Sequence[str], tokens: np.ndarray, limit: int | None
    ) -> Encoded:
        """Ask for ``limit`` texts at a time, and no more from now on.

        Where the server has said no number, one text goes alone: when it is refused too, the
        reason is another one; else half as many are tried.
        """
        alone = limit is None
        self._most_inputs = min(self._most_inputs, limit or len(texts) // 2)
        parts, start = [], 0
        while start < len(texts):
            end = start + (1 if alone and not start else self._most_inputs)
            parts.append(await self._rows(asked, texts[start:end], tokens[start:end]))
            start = end
        return joined(parts)


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

"""What a text encoder is: batches of texts in, float32 rows out, in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

from recbole_darec.errors import EmbeddingError, some

__all__ = ["Batches", "Encoded", "EncodedBatches", "Encoder", "check_rows", "joined"]

Batches = Sequence[Sequence[str]]


class Encoded(NamedTuple):
    """Rows of one batch.

    Attributes:
        rows: (n, d) float32, row k for text k of the batch.
        pieces: (n,) int64: into how many pieces text k was split because it is longer than the
            encoder reads; 1 for a text that was encoded whole.
    """

    rows: np.ndarray
    pieces: np.ndarray


EncodedBatches = Generator["tuple[int, Encoded]", None, None]


class Encoder(ABC):
    """Turns texts into rows.

    Attributes:
        name: what a user writes after ``--encoder=``; noted in the metadata.
        identity: equal for two encoders if and only if they give the same rows; the key of the
            store.
        batch_size: texts a batch.
        batch_characters: characters that a batch holds at most, unless it is a single text.
        packages: distributions whose versions are noted in the metadata.
    """

    name: str
    identity: str
    batch_size: int
    batch_characters: int | None = None
    packages: tuple[str, ...] = ()

    @property
    @abstractmethod
    def revision(self) -> str | None:
        """The version of the model, as far as it is known; a server tells it with its answers."""

    @abstractmethod
    def encode_batches(self, batches: Batches) -> EncodedBatches:
        """Encode batches and yield ``(number of the batch, its rows)`` as they are done.

        What was yielded is safe: when a later batch fails, the caller has kept it.

        Raises:
            UserError: the encoder cannot be had, or gives no usable rows.
        """


def check_rows(rows: np.ndarray, n: int, encoder: str) -> np.ndarray:
    """Return an encoder's answer for ``n`` texts as contiguous (n, d) float32.

    Raises:
        EmbeddingError: another number of rows, no width, or NaN or infinite numbers.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if rows.ndim != 2 or len(rows) != n or not rows.shape[1]:
        raise EmbeddingError(
            f"the encoder '{encoder}' gave an array of shape {rows.shape} for {n} texts: "
            "use another model"
        )
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise EmbeddingError(
            f"the encoder '{encoder}' gave NaN or Inf for text number {some(bad + 1)} of a batch: "
            "use another model or device"
        )
    return rows


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Put batches below each other."""
    return Encoded(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.pieces for part in parts]),
    )

"""Where rows are kept until their file is written: in the store, or for one call in memory."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Protocol

import numpy as np

from recbole_darec.data.store import in_parts, open_store, transaction
from recbole_darec.encoders.base import Encoded
from recbole_darec.errors import DataError, EmbeddingError

__all__ = ["VectorCache", "Vectors", "VectorsInMemory", "open_vector_cache"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS encoder (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    revision TEXT,
    width INTEGER
);
CREATE TABLE IF NOT EXISTS embedding (
    encoder INTEGER NOT NULL REFERENCES encoder (id),
    text_sha256 BLOB NOT NULL,
    pieces INTEGER NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (encoder, text_sha256)
);
"""


class Vectors(Protocol):
    """Rows by text."""

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return those of the texts, without repetition, that have no row yet."""

    def keep(self, texts: Sequence[str], encoded: Encoded) -> None:
        """Keep the rows of a batch, all of them or none."""

    def matrix(self, texts: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """Return (n, d): the rows of n texts that all have one."""


class VectorsInMemory:
    """Rows that are forgotten with the object."""

    def __init__(self) -> None:
        self._row: dict[str, np.ndarray] = {}

    def missing(self, texts: Sequence[str]) -> list[str]:
        """See :class:`Vectors`."""
        return [text for text in dict.fromkeys(texts) if text not in self._row]

    def keep(self, texts: Sequence[str], encoded: Encoded) -> None:
        """See :class:`Vectors`."""
        self._row.update(zip(texts, encoded.rows))

    def matrix(self, texts: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """See :class:`Vectors`."""
        return np.stack([self._row[text] for text in texts]).astype(dtype, copy=False)


@contextmanager
def open_vector_cache(path: Path, identity: str) -> Iterator[VectorCache]:
    """Open the rows that one encoder has in a store; the store is made where there is none.

    Raises:
        DataError: the file is no store, is damaged, or the disk is full.
    """
    with open_store(path, _SCHEMA) as connection:
        yield VectorCache(connection, path, identity)


class VectorCache:
    """The rows of one encoder in a store, under the SHA-256 of their text.

    A batch is one transaction: a killed run has lost the batches under way, and no other.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, identity: str) -> None:
        self._db = connection
        self._path = path
        self._db.execute("INSERT OR IGNORE INTO encoder (identity) VALUES (?)", (identity,))
        self._encoder, self._width = self._db.execute(
            "SELECT id, width FROM encoder WHERE identity = ?", (identity,)
        ).fetchone()

    def settle_revision(self, revision: str | None) -> str | None:
        """Note what the model is called, or recall it where no answer has told it this time.

        A server may put another model behind a name; the rows in the store are then of both.
        """
        (known,) = self._db.execute(
            "SELECT revision FROM encoder WHERE id = ?", (self._encoder,)
        ).fetchone()
        if revision is None or revision == known:
            return known
        if known is not None:
            getLogger().warning(
                f"the server now calls its model '{revision}'; rows in {self._path} are of "
                f"'{known}': name another --store to encode all texts anew"
            )
        self._db.execute("UPDATE encoder SET revision = ? WHERE id = ?", (revision, self._encoder))
        return revision

    def missing(self, texts: Sequence[str]) -> list[str]:
        """See :class:`Vectors`."""
        distinct = list(dict.fromkeys(texts))
        kept: list[str] = []
        for part in in_parts(distinct):
            known = self._ask("text_sha256", [_key(text) for text in part])
            kept += [text for text in part if _key(text) not in known]
        return kept

    def keep(self, texts: Sequence[str], encoded: Encoded) -> None:
        """See :class:`Vectors`.

        Raises:
            EmbeddingError: the rows are of another width than those that are there.
        """
        width = encoded.rows.shape[1]
        if self._width not in (None, width):
            raise EmbeddingError(
                f"the encoder gives rows of width {width}, but those in {self._path} have "
                f"{self._width}: it is another model under the same name; use another --store"
            )
        rows = [
            (self._encoder, _key(text), int(pieces), row.astype("<f4").tobytes())
            for text, row, pieces in zip(texts, encoded.rows, encoded.pieces)
        ]
        with transaction(self._db):
            if self._width is None:
                self._db.execute(
                    "UPDATE encoder SET width = ? WHERE id = ?", (width, self._encoder)
                )
            self._db.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?)", rows)
        self._width = width

    def pieces(self, texts: Sequence[str]) -> dict[str, int]:
        """Return the texts that were split, with the number of their pieces."""
        found: dict[str, int] = {}
        for part in in_parts(texts):
            known = self._ask("text_sha256, pieces", [_key(text) for text in part])
            found.update((text, known[_key(text)][0]) for text in part if known[_key(text)][0] > 1)
        return found

    def matrix(self, texts: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """See :class:`Vectors`.

        Raises:
            DataError: a row of the store is damaged.
        """
        width = self._width or 0
        matrix = np.empty((len(texts), width), dtype=dtype)
        row = 0
        with np.errstate(over="ignore"):  # infinity in float16 is told when the file is written
            for part in in_parts(texts):
                keys = [_key(text) for text in part]
                known = self._ask("text_sha256, vector", keys)
                for key in keys:
                    (blob,) = known.get(key, (b"",))
                    if len(blob) != 4 * width:
                        raise DataError(
                            f"the store {self._path} has a damaged row: remove the file"
                        )
                    matrix[row] = np.frombuffer(blob, dtype="<f4")
                    row += 1
        return matrix

    def _ask(self, columns: str, keys: Sequence[bytes]) -> dict[bytes, tuple]:
        """Return {key: the columns after the first} for those of the keys that are there."""
        distinct = list(dict.fromkeys(keys))
        found = self._db.execute(
            f"SELECT {columns} FROM embedding WHERE encoder = ? "
            f"AND text_sha256 IN ({', '.join('?' * len(distinct))})",
            (self._encoder, *distinct),
        )
        return {key: tuple(rest) for key, *rest in found}


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

"""What the store of results has of one run: its tables, and their rows."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "COLUMNS",
    "JSON_COLUMNS",
    "KEPT_COLUMNS",
    "SCHEMA",
    "Row",
    "packed",
    "row_of",
    "unpacked",
]

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    key TEXT NOT NULL, version TEXT NOT NULL, dataset TEXT NOT NULL, model TEXT NOT NULL,
    align TEXT NOT NULL, seed INTEGER NOT NULL, options TEXT NOT NULL, data TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT, log TEXT, model_file TEXT, best_epoch INTEGER,
    valid TEXT, test TEXT, chosen TEXT, groups TEXT, curve TEXT, seconds REAL, n_users INTEGER,
    begun TEXT, ended TEXT, PRIMARY KEY (key, version));
CREATE TABLE IF NOT EXISTS users (
    key TEXT NOT NULL, version TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (key, version));
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL);
"""
JSON_COLUMNS = ("options", "valid", "test", "chosen", "groups", "curve")
COLUMNS = (
    "key", "version", "dataset", "model", "align", "seed", "options", "data", "state", "reason",
    "log", "model_file", "best_epoch", "valid", "test", "chosen", "groups", "seconds", "n_users",
    "begun", "ended",
)  # fmt: skip

# Of a finished run, wherever it was done; key and version come first.
KEPT_COLUMNS = tuple(
    name for name in (*COLUMNS, "curve") if name not in ("reason", "log", "model_file")
)


@dataclass(frozen=True)
class Row:
    """What the store has of one run; see :class:`Outcome` for what a finished one has.

    Attributes:
        state: ``pending``, ``running``, ``done`` or ``failed``.
        reason: why it failed, in one line.
        options: every option of the run.
        seconds: from its start to its end, the parts before a kill left out.
    """

    key: str
    version: str
    dataset: str
    model: str
    align: str
    seed: int
    options: dict[str, Any]
    data: str
    state: str
    reason: str | None
    log: str | None
    model_file: str | None
    best_epoch: int | None
    valid: dict[str, float]
    test: dict[str, float]
    chosen: dict[str, float]
    groups: dict[str, Any]
    seconds: float | None
    n_users: int | None
    begun: str | None
    ended: str | None


def row_of(values: tuple[Any, ...]) -> Row:
    """Return a run by its columns, in the order of :data:`COLUMNS`."""
    named = dict(zip(COLUMNS, values))
    for name in JSON_COLUMNS:
        if name in named:
            named[name] = json.loads(named[name] or "{}")
    return Row(**named)


def packed(users: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays by name as they are stored."""
    buffer = io.BytesIO()
    np.savez(buffer, **users)  # type: ignore[arg-type]
    return zlib.compress(buffer.getvalue())


def unpacked(content: bytes) -> dict[str, np.ndarray]:
    """Return what :func:`packed` was given."""
    with np.load(io.BytesIO(zlib.decompress(content)), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}

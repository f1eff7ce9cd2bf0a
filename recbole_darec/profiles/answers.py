"""Answers of a language model, kept in the store the moment they come."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from recbole_darec.data.store import in_parts, transaction
from recbole_darec.profiles.reading import Profile

__all__ = [
    "SCHEMA",
    "Answers",
    "Paid",
    "Question",
]

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,           -- digest of model, temperature and messages
    kind TEXT NOT NULL,             -- item or user
    id TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,           -- ok or failed
    summarization TEXT,
    reasoning TEXT,
    reason TEXT,                    -- why it failed
    raw TEXT,                       -- what the server said, where it failed
    at REAL NOT NULL                -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    outcome TEXT NOT NULL,          -- ok, or what was wrong with the answer
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    factor REAL NOT NULL,           -- what was paid of the price
    at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key);
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY,          -- ours, in the batch's metadata
    batch_id TEXT,                  -- the server's, once it has said it
    keys TEXT NOT NULL,             -- JSON list
    attempt INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True)
class Question:
    """Whose profile is asked for, of which model; ``key`` is :meth:`.Prompt.key`."""

    key: str
    kind: str
    id: str
    model: str


@dataclass(frozen=True)
class Paid:
    """The tokens of one answered request, and what was paid of their price."""

    prompt_tokens: int
    completion_tokens: int
    factor: float = 1.0


class Answers:
    """The answers in a store.

    Args:
        connection: an open store with the tables of :data:`SCHEMA`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def statuses(self, keys: Iterable[str]) -> dict[str, str]:
        """Return ``ok`` or ``failed`` for each key that was answered."""
        return {key: row[0] for key, row in self._rows("status", keys)}

    def failures(self, keys: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return of each key that failed the reason, and what the server said."""
        rows = self._rows("status, reason, raw", keys)
        return {key: (row[1] or "", row[2] or "") for key, row in rows if row[0] == "failed"}

    def profiles(self, keys: Iterable[str]) -> dict[str, Profile]:
        """Return the profile of each key that has one."""
        rows = self._rows("status, summarization, reasoning", keys)
        return {key: Profile(row[1], row[2]) for key, row in rows if row[0] == "ok"}

    def keep(
        self,
        question: Question,
        profile: Profile | None,
        reason: str | None = None,
        raw: str | None = None,
        paid: Paid | None = None,
    ) -> None:
        """Keep a profile or, without one, a failure; with ``paid``, also what it took.

        Both are kept, or neither: what is counted as paid is there.
        """
        status = "failed" if profile is None else "ok"
        with transaction(self._db):
            if paid is not None:
                self.count(question, reason or "ok", paid)
            self._db.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(question.key, question.kind, question.id, question.model, status),
                    profile and profile.summarization,
                    profile and profile.reasoning,
                    reason,
                    raw,
                    time.time(),
                ),
            )

    def count(self, question: Question, outcome: str, paid: Paid) -> None:
        """Note what a request took that the server answered."""
        self._db.execute(
            "INSERT INTO requests (key, outcome, prompt_tokens, completion_tokens, factor, at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                question.key,
                outcome,
                paid.prompt_tokens,
                paid.completion_tokens,
                paid.factor,
                time.time(),
            ),
        )

    def spent(self, keys: Iterable[str]) -> tuple[float, float]:
        """Return the prompt and completion tokens of all requests for ``keys``, by what was paid.

        A token at half the price counts as half a token.
        """
        prompt = completion = 0.0
        for part in in_parts(list(keys)):
            row = self._db.execute(
                "SELECT total(prompt_tokens * factor), total(completion_tokens * factor) "
                f"FROM requests WHERE key IN ({', '.join('?' * len(part))})",
                part,
            ).fetchone()
            prompt, completion = prompt + row[0], completion + row[1]
        return prompt, completion

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield every answer, the oldest first."""
        columns = ("kind", "id", "model", "status", "summarization", "reasoning", "reason", "raw",
                   "key", "at")  # fmt: skip
        for row in self._db.execute(f"SELECT {', '.join(columns)} FROM answers ORDER BY at, key"):
            yield {name: value for name, value in zip(columns, row) if value is not None}

    def _rows(self, columns: str, keys: Iterable[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        for part in in_parts(list(keys)):
            found = self._db.execute(
                f"SELECT key, {columns} FROM answers WHERE key IN ({', '.join('?' * len(part))})",
                part,
            )
            for key, *rest in found:
                yield key, tuple(rest)

    # -- batches ------------------------------------------------------------------------------

    def open_batches(self) -> list[tuple[str, str | None, list[str], int]]:
        """Return (name, the server's id, keys, attempt) of each batch that is not done."""
        rows = self._db.execute("SELECT name, batch_id, keys, attempt FROM batches WHERE done = 0")
        return [(name, batch, json.loads(keys), attempt) for name, batch, keys, attempt in rows]

    def plan_batch(self, name: str, keys: list[str], attempt: int) -> None:
        """Note a batch before it is made, so that it is found again if the process dies there."""
        self._db.execute(
            "INSERT INTO batches (name, keys, attempt) VALUES (?, ?, ?)",
            (name, json.dumps(keys), attempt),
        )

    def name_batch(self, name: str, batch_id: str) -> None:
        """Note the server's id of a batch."""
        self._db.execute("UPDATE batches SET batch_id = ? WHERE name = ?", (batch_id, name))

    def finish_batch(self, name: str) -> None:
        """Note that a batch's answers are all kept."""
        self._db.execute("UPDATE batches SET done = 1 WHERE name = ?", (name,))

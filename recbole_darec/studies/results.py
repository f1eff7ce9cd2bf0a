"""The store of results: one SQLite file, in which a run's outcome is kept as it comes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from recbole_darec import __version__
from recbole_darec.data.files import file_digest
from recbole_darec.data.store import open_store, transaction
from recbole_darec.errors import DataError
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.stored_row import (
    COLUMNS,
    JSON_COLUMNS,
    KEPT_COLUMNS,
    SCHEMA,
    Row,
    packed,
    row_of,
    unpacked,
)

__all__ = ["Row", "Store", "open_results", "read_results"]

_FORMAT = 1


class Store:
    """An open store.

    Args:
        connection: to the file.
        path: the file, for messages.
        version: of this package, under which results are kept.
        others: whether those of other versions count as done where this one has none.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, version: str = __version__
    ) -> None:
        self._connection = connection
        self.path = path
        self.version = version
        self.others = False

    # ---- reading -----------------------------------------------------------------------------

    def rows(self) -> dict[str, Row]:
        """Return what there is of each run by key: of this version, or else of the newest other."""
        found: dict[str, Row] = {}
        query = f"SELECT {', '.join(COLUMNS)} FROM runs ORDER BY version = ?, ended"
        for values in self._connection.execute(query, (self.version,)):
            row = row_of(values)
            if row.version == self.version or (self.others and row.state == "done"):
                found[row.key] = row
        return found

    def versions(self, keys: Iterable[str]) -> dict[str, int]:
        """Return how many of these runs other versions have done, and this one has not."""
        wanted, here = set(keys), set()
        counts: dict[str, set[str]] = {}
        for key, version in self._connection.execute(
            "SELECT key, version FROM runs WHERE state = 'done'"
        ):
            if version == self.version:
                here.add(key)
            elif key in wanted:
                counts.setdefault(version, set()).add(key)
        left = {version: len(found - here) for version, found in counts.items()}
        return {version: count for version, count in left.items() if count}

    def curve(self, row: Row) -> list[dict[str, Any]]:
        """Return a run's epochs: ``epoch``, ``seconds``, ``losses`` by name, ``valid``."""
        query = "SELECT curve FROM runs WHERE key = ? AND version = ?"
        found = self._connection.execute(query, (row.key, row.version)).fetchone()
        curve: list[dict[str, Any]] = json.loads(found[0] or "[]") if found else []
        return curve

    def users(self, row: Row) -> dict[str, np.ndarray] | None:
        """Return a run's test metrics by user, or None where it kept none.

        Returns:
            ``users``, the data set's internal ids, int32 ``[n]``; ``trained``, their training
            interactions, int32 ``[n]``; and each metric, float32 ``[n]``.
        """
        query = "SELECT content FROM users WHERE key = ? AND version = ?"
        found = self._connection.execute(query, (row.key, row.version)).fetchone()
        return None if found is None else unpacked(found[0])

    # ---- writing -----------------------------------------------------------------------------

    def add(self, row: Mapping[str, Any]) -> None:
        """Add or replace a run: the columns that ``row`` names."""
        values = {
            name: json.dumps(value) if name in JSON_COLUMNS and value is not None else value
            for name, value in row.items()
        }
        values["version"] = self.version
        names = ", ".join(values)
        places = ", ".join("?" for _ in values)
        updates = ", ".join(f"{n} = excluded.{n}" for n in values if n not in ("key", "version"))
        self._connection.execute(
            f"INSERT INTO runs ({names}) VALUES ({places}) "
            f"ON CONFLICT (key, version) DO UPDATE SET {updates}",
            tuple(values.values()),
        )

    def set_state(self, key: str, state: str, **more: Any) -> None:
        """Change a run's state, and other columns with it."""
        names = {"state": state, **more}
        assignments = ", ".join(f"{name} = ?" for name in names)
        self._connection.execute(
            f"UPDATE runs SET {assignments} WHERE key = ? AND version = ?",
            (*names.values(), key, self.version),
        )

    def finish(self, key: str, outcome: Outcome, ended: str) -> None:
        """Keep a run's outcome: all of it, or nothing."""
        values = {
            "state": outcome.state,
            "reason": outcome.reason,
            "model_file": outcome.model_file,
            "best_epoch": outcome.best_epoch,
            "valid": json.dumps(outcome.valid),
            "test": json.dumps(outcome.test),
            "chosen": json.dumps(outcome.chosen),
            "groups": json.dumps(outcome.groups),
            "curve": json.dumps(outcome.curve),
            "seconds": outcome.seconds,
            "n_users": None if outcome.users is None else len(outcome.users["users"]),
            "ended": ended,
        }
        with transaction(self._connection):
            assignments = ", ".join(f"{name} = ?" for name in values)
            self._connection.execute(
                f"UPDATE runs SET {assignments} WHERE key = ? AND version = ?",
                (*values.values(), key, self.version),
            )
            if outcome.users is not None:
                self._connection.execute(
                    "INSERT OR REPLACE INTO users (key, version, content) VALUES (?, ?, ?)",
                    (key, self.version, packed(outcome.users)),
                )

    def take(self, other: Store) -> int:
        """Take the finished runs of another store that this one has not finished: all, or none.

        Logs and models stay where they are, and are forgotten here.

        Returns:
            how many were taken.
        """
        names = ", ".join(KEPT_COLUMNS)
        places = ", ".join("?" for _ in KEPT_COLUMNS)
        updates = ", ".join(f"{name} = excluded.{name}" for name in KEPT_COLUMNS[2:])
        taken = 0
        with transaction(self._connection):
            for values in other._connection.execute(
                f"SELECT {names} FROM runs WHERE state = 'done' ORDER BY key, version"
            ):
                # Neither log nor model: those are the other store's.
                changed = self._connection.execute(
                    f"INSERT INTO runs ({names}) VALUES ({places}) ON CONFLICT (key, version) "
                    f"DO UPDATE SET {updates}, reason = NULL, log = NULL, model_file = NULL "
                    "WHERE state <> 'done'",
                    values,
                ).rowcount
                if not changed:
                    continue
                taken += 1
                users = other._connection.execute(
                    "SELECT key, version, content FROM users WHERE key = ? AND version = ?",
                    values[:2],
                ).fetchone()
                if users is not None:
                    self._connection.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", users)
        return taken

    def digest_of(self, path: Path) -> str:
        """Return the digest of a file's content; read once for each state of the file."""
        stat = path.stat()
        query = "SELECT digest FROM files WHERE path = ? AND size = ? AND mtime_ns = ?"
        state = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        found = self._connection.execute(query, state).fetchone()
        if found is not None:
            return str(found[0])
        digest = file_digest(path)
        if not self._connection.execute("PRAGMA query_only").fetchone()[0]:
            self._connection.execute(
                "INSERT OR REPLACE INTO files (path, size, mtime_ns, digest) VALUES (?, ?, ?, ?)",
                (*state, digest),
            )
        return digest


@contextmanager
def open_results(path: Path) -> Iterator[Store]:
    """Open a store for runs, made where there is none.

    Raises:
        DataError: it cannot be opened, made or written, is none of ours, or of another format.
    """
    with open_store(path, SCHEMA) as connection:
        _check_format(connection, path)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        yield Store(connection, path)


@contextmanager
def read_results(path: Path) -> Iterator[Store]:
    """Open a store for reading, also while runs go on.

    Raises:
        DataError: there is none, it cannot be read, is none of ours, or of another format.
    """
    if not path.is_file():
        raise DataError(
            f"there are no results yet: '{path}' does not exist; run the study first, without "
            "--table, or name its store with --store"
        )
    try:
        with closing(_reader(path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            _check_format(connection, path)
            connection.execute("SELECT 1 FROM runs LIMIT 1")
            yield Store(connection, path)
    except sqlite3.Error as error:
        raise DataError(f"the store {path} cannot be read ({error}): name a study's") from error


def _reader(path: Path) -> sqlite3.Connection:
    """Return a connection for reading, to a file in a folder without write permission, too."""
    where = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = sqlite3.connect(where, uri=True, timeout=60.0)
    try:
        connection.execute("PRAGMA user_version")
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(f"{path.name}-wal").exists():  # somebody writes
            raise
        # SQLite wants to make a file beside one that others may write; nobody does.
        connection = sqlite3.connect(f"{where}&immutable=1", uri=True)
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _FORMAT):
        raise DataError(
            f"the store {path} is of format {version}, and this version of recbole_darec "
            f"({__version__}) reads format {_FORMAT}: name another file with --store"
        )

"""The store of a data set: one SQLite file in which answers and embeddings are kept as they come.

SQLite in WAL mode: what was committed is there after the process is killed, and one process may
read while another writes.  Who keeps something in it makes its own table
(:mod:`recbole_darec.profiles.answers`, :mod:`recbole_darec.encoders.vector_cache`); here is what
they share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from recbole_darec.errors import DataError

__all__ = ["in_parts", "only_run", "open_store", "store_path", "transaction"]

_Item = TypeVar("_Item")

_APPLICATION_ID = 0x44615263  # "DaRc": no other program's database is taken for a store
_WAIT_SECONDS = 60.0
_PART = 500  # parameters of one statement; SQLite takes at least 999


def store_path(folder: Path, dataset: str) -> Path:
    """Return where a data set's store lies unless the user names another place."""
    return folder / f"{dataset}.store.sqlite"


@contextmanager
def open_store(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """Open a store, made where there is none, with the tables of ``schema``.

    The connection is in autocommit: each statement is kept at once, unless the caller begins a
    transaction.  An error of SQLite inside the block becomes a :class:`DataError`.

    Args:
        path: the file.
        schema: ``CREATE TABLE IF NOT EXISTS …`` statements.

    Raises:
        DataError: the file cannot be opened or made, is no store, is damaged, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the store {path} cannot be made: {error.strerror or error}") from None
    try:
        connection = sqlite3.connect(str(path), timeout=_WAIT_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise DataError(f"the store {path} cannot be opened ({error}); see --store") from None
    with closing(connection):
        try:
            _prepare(connection, path, schema)
            yield connection
        except sqlite3.Error as error:
            way_out = "free room, or mend or remove the file"
            if "readonly" in str(error) or "unable to open" in str(error):
                way_out = "it, or its folder, cannot be written: name another place with --store"
            raise DataError(f"the store {path} cannot be used ({error}): {way_out}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep all that the block writes, or, where it fails or is interrupted, nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Ctrl-C may strike when the last statement has ended it already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def in_parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield the items in order, so many at a time as one statement takes as parameters."""
    for start in range(0, len(items), _PART):
        yield items[start : start + _PART]


def _prepare(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    known = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if known != _APPLICATION_ID:
        if tables or known:
            raise DataError(f"{path} is another program's database: name another file with --store")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    # The write-ahead log outlives the process with every setting; only a power cut could take the
    # last answers with this one, and never damage the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(schema)


@contextmanager
def only_run(path: Path, what: str) -> Iterator[None]:
    """Let no second process run ``what`` on the same store: both would pay for the same answers.

    The lock ends with the process, however it ends.  Where the system has no such locks (Windows)
    there is none.

    Raises:
        DataError: another process has it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = path.with_name(path.name + ".lock")
    try:
        file = lock.open("w")
    except OSError as error:
        raise DataError(f"{lock} cannot be made: {error.strerror or error}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"another process runs '{what}' on {path}: wait for it, or name another --store"
            ) from None
        yield

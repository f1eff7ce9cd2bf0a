"""A look into a store that another process writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def rows_in(store: Path) -> int:
    if not store.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM embedding").fetchone()[0])
    except sqlite3.OperationalError:  # its table is not made yet
        return 0

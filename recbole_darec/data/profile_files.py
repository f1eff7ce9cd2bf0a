"""Profile files: JSON lines with ``id`` and ``profile``."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from recbole_darec.data.atomic import check_tokens
from recbole_darec.data.files import progress
from recbole_darec.errors import DataError

__all__ = ["open_text", "read_profiles", "require_unique"]


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file, gzipped or not; what goes wrong while reading is a DataError."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig") as file:
                yield file
        else:
            with path.open(encoding="utf-8-sig") as file:
                yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason})") from None
    except (OSError, EOFError, zlib.error) as error:
        strerror = getattr(error, "strerror", None)
        raise DataError(f"cannot read {path}: {strerror or error}") from None


def require_unique(ids: Sequence[str], where: str) -> None:
    """Raise :class:`DataError` at the first id that stands there twice."""
    seen: dict[str, int] = {}
    for row, token in enumerate(ids, 1):
        first = seen.setdefault(token, row)
        if first != row:
            raise DataError(f"{where}, row {row}: the id '{token}' stands in row {first} already")


def read_profiles(path: Path) -> tuple[list[str], list[str]]:
    """Read a profile file; empty lines are skipped, an empty text is kept as it is.

    Returns:
        The ids and, in the same order, their texts.

    Raises:
        DataError: it cannot be read, has a faulty line or a repeated id, or no text at all.
    """
    ids, texts = [], []
    with open_text(path) as file:
        for number, line in enumerate(progress(file, path.name), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number} is no JSON: {error}") from None
            token = record.get("id") if isinstance(record, dict) else None
            text = record.get("profile") if isinstance(record, dict) else None
            if isinstance(token, bool) or not isinstance(token, (str, int)):
                raise DataError(f"{path}, line {number}: no 'id' of text or a whole number")
            if not isinstance(text, str):
                raise DataError(f"{path}, line {number}: no text under 'profile'")
            ids.append(str(token))
            texts.append(text)
    if not any(text.strip() for text in texts):
        raise DataError(f"{path} has no profiles")
    check_tokens(ids, str(path))
    require_unique(ids, str(path))
    return ids, texts

"""Reading a table of embeddings in whichever form it lies there.

The binary form (``<stem>.npy`` with ``<stem>.tokens``) is preferred over the text form
(``<stem>``).  Where both are there and the text is the newer one, the binary is still used, with a
warning: which of two contradicting files counts must not depend on the clock of a copy.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from recbole_darec.embeddings.binary import (
    read_binary,
    read_meta,
    with_suffix,
    write_binary,
)
from recbole_darec.embeddings.cache import fingerprint, load_cache, store_cache
from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.embeddings.text import parse_text, write_text
from recbole_darec.errors import EmbeddingError

__all__ = ["EmbeddingTable", "exists", "files_of", "read_table", "write_binary", "write_text"]

_log = logging.getLogger(__name__)


def exists(path: str | Path) -> bool:
    """Tell whether ``read_table`` has something to read at ``path``."""
    path = Path(path)
    return path.is_file() or with_suffix(path, ".npy").is_file()


def files_of(path: str | Path) -> list[Path]:
    """Return the files whose content ``read_table`` takes from ``path``, their notes left out."""
    path = Path(path)
    stem = path.with_name(path.name[: -len(".npy")]) if path.suffix == ".npy" else path
    binary = [with_suffix(stem, ".npy"), with_suffix(stem, ".tokens")]
    return binary if binary[0].is_file() else [path]


def read_table(
    path: str | Path,
    *,
    field_separator: str = "\t",
    seq_separator: str = " ",
    cache: bool = True,
) -> EmbeddingTable:
    """Read a table of embeddings.

    Args:
        path: a text file (``yelp.useremb``), a binary one (``yelp.useremb.npy``), or the stem of a
            binary one (``yelp.useremb``).
        field_separator: between the columns of a text file.
        seq_separator: between the numbers of a text file.
        cache: parse a text file once, and keep it in binary beside it.

    Returns:
        The table; its matrix is mapped from the file, or from the cache of a text file.

    Raises:
        EmbeddingError: there is no such file, or it is malformed.
    """
    path = Path(path)
    if path.suffix == ".npy":
        if not path.is_file():
            raise EmbeddingError(f"there is no file {path}")
        return read_binary(path.with_name(path.name[: -len(".npy")]))
    npy = with_suffix(path, ".npy")
    if npy.is_file():
        table = read_binary(path)
        if path.is_file() and path.stat().st_mtime_ns > npy.stat().st_mtime_ns:
            _log.warning(
                "%s is newer than %s, which is used: remove %s (and its .tokens) or write it anew "
                "if the text is the right one",
                path,
                npy.name,
                npy.name,
            )
        return table
    if not path.is_file():
        raise EmbeddingError(f"there is no file {path} and no {npy.name}")
    table = _read_text(path, field_separator, seq_separator, cache)
    return replace(table, meta=read_meta(path))


def _read_text(path: Path, field_separator: str, seq_separator: str, cache: bool) -> EmbeddingTable:
    separators = (field_separator, seq_separator)
    if cache:
        cached = load_cache(path, separators)
        if cached is not None:
            return cached
    try:
        state = fingerprint(path)
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror}") from None
    tokens, matrix = parse_text(path, field_separator, seq_separator)
    if cache and store_cache(path, state, separators, tokens, matrix):
        # Opened again from the file, so that the parsed copy does not stay in memory.
        cached = load_cache(path, separators)
        if cached is not None:
            return cached
    return EmbeddingTable(tokens, matrix, path)

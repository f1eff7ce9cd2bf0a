"""The cache of a parsed text file, in binary beside it.

``<text>.cache.npy`` and ``.cache.tokens`` are the table in the binary form.  ``.cache.json`` is
written last and says which states of the three other files belong together: size, time of change,
and a digest of head and tail of the text, of the matrix and of the tokens.  Whatever happens
between the renames (a crash, a second process that writes the same cache, a text that changes
meanwhile), files that were not written for each other do not match it, and the text is parsed
again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.files import file_state
from recbole_darec.embeddings.binary import (
    map_matrix,
    read_tokens,
    replacing,
    with_suffix,
    write_matrix,
)
from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.errors import EmbeddingError

__all__ = ["fingerprint", "load_cache", "store_cache"]

_VERSION = 1
_SAMPLE_BYTES = 64 << 10

_log = logging.getLogger(__name__)


def fingerprint(path: Path) -> dict[str, Any]:
    """Describe a file's state: size, time of change, digest of its first and last 64 KiB.

    Raises:
        OSError: the file cannot be read.
    """
    return file_state(path, _SAMPLE_BYTES)


def load_cache(text: Path, separators: Sequence[str]) -> EmbeddingTable | None:
    """Open the cache of a text file, or return None where there is none that fits.

    Args:
        text: the text file.
        separators: what it is to be read with; a cache made with others does not fit.
    """
    npy, tokens_path, note_path = _cache_paths(text)
    try:
        note = json.loads(note_path.read_text(encoding="utf-8"))
        if note["version"] != _VERSION or note["separators"] != list(separators):
            return None
        if note["text"] != fingerprint(text):
            return None
        # Opened before they are compared: a rename in between then shows as a difference.
        matrix, mapping = map_matrix(npy)
        tokens = read_tokens(tokens_path)
        if note["matrix"] != fingerprint(npy) or note["tokens"] != fingerprint(tokens_path):
            return None
        if [len(tokens), matrix.shape[1]] != note["shape"] or len(matrix) != len(tokens):
            return None
    except (OSError, ValueError, KeyError, TypeError, EmbeddingError) as error:
        _log.debug("no usable cache of %s: %s", text, error)
        return None
    return EmbeddingTable(tokens, matrix, text, mapping=mapping)


def store_cache(
    text: Path,
    state: dict[str, Any],
    separators: Sequence[str],
    tokens: Sequence[str],
    matrix: np.ndarray,
) -> bool:
    """Write the cache of a text file.

    A folder that cannot be written to, or a full disk, is no error: it is logged.

    Args:
        text: the text file.
        state: its ``fingerprint`` from before it was parsed.
        separators: what it was read with.
        tokens: n tokens.
        matrix: float32 [n, width].

    Returns:
        Whether the cache was written.
    """
    npy, tokens_path, note_path = _cache_paths(text)
    try:
        if fingerprint(text) != state:
            _log.warning("%s changed while it was read; it is not cached", text)
            return False
        write_matrix(npy, matrix)
        with replacing(tokens_path) as file:
            file.write("".join(t + "\n" for t in tokens).encode("utf-8"))
        note = {
            "version": _VERSION,
            "separators": list(separators),
            "shape": list(matrix.shape),
            "text": state,
            "matrix": fingerprint(npy),
            "tokens": fingerprint(tokens_path),
        }
        with replacing(note_path) as file:
            file.write(json.dumps(note, indent=1).encode() + b"\n")
    except OSError as error:
        _log.warning(
            "the parsed form of %s cannot be cached beside it (%s); it will be parsed again "
            "at the next run",
            text,
            error.strerror or error,
        )
        return False
    return True


def _cache_paths(text: Path) -> tuple[Path, Path, Path]:
    return (
        with_suffix(text, ".cache.npy"),
        with_suffix(text, ".cache.tokens"),
        with_suffix(text, ".cache.json"),
    )

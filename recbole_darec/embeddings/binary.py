"""The binary form of embeddings: a plain ``.npy`` matrix, and beside it the token of each row.

- ``<stem>.npy``: 2-D, float16, float32 or float64, row n.
- ``<stem>.tokens``: UTF-8, one token per line, line n names row n.
- ``<stem>.json``: optional, free-form: encoder, date, split that the texts were made from, …

The matrix is mapped into memory, never unpickled.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from recbole_darec.data.files import replacing
from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.errors import EmbeddingError, some

__all__ = [
    "check_table",
    "map_matrix",
    "opened",
    "read_binary",
    "read_meta",
    "read_tokens",
    "whole_numbers",
    "with_suffix",
    "write_binary",
    "write_matrix",
]

FLOAT_BYTES = (2, 4, 8)
_BLOCK_ROWS = 4096
_npy: Any = np.lib.format  # NumPy gives it no types


def with_suffix(stem: Path, suffix: str) -> Path:
    """Append to a file name that may itself have dots: ``yelp.useremb`` + ``.npy``.

    Raises:
        EmbeddingError: the path has no name, as ``.`` and the empty one.
    """
    if not stem.name:
        raise EmbeddingError(f"'{stem}' names no file of embeddings")
    return stem.with_name(stem.name + suffix)


@contextmanager
def opened(path: Path, buffering: int = -1) -> Iterator[IO[bytes]]:
    """Open a file for reading.

    Raises:
        EmbeddingError: it cannot be opened, or reading it fails.
    """
    try:
        with open(path, "rb", buffering) as file:
            yield file
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror or error}") from None


def read_binary(stem: Path) -> EmbeddingTable:
    """Open ``<stem>.npy`` with ``<stem>.tokens``; the matrix is mapped, not read.

    Raises:
        EmbeddingError: a file is missing, malformed, truncated, holds objects, or the two do not
            belong together.
    """
    npy, tokens_path = with_suffix(stem, ".npy"), with_suffix(stem, ".tokens")
    if not tokens_path.is_file():
        raise EmbeddingError(
            f"{npy} has no {tokens_path.name} beside it, which names its rows (one token per "
            f"line): add it"
        )
    matrix, mapping = map_matrix(npy)
    tokens = read_tokens(tokens_path)
    if len(tokens) != len(matrix):
        raise EmbeddingError(
            f"{tokens_path} names {len(tokens):,} rows, but {npy.name} has {len(matrix):,}: "
            f"the two files do not belong together"
        )
    _require_distinct(tokens, tokens_path)
    return EmbeddingTable(tokens, matrix, npy, read_meta(stem), mapping)


def whole_numbers(path: Path, dtype: Any) -> EmbeddingError:
    """Return the error for a matrix of whole numbers, which without a scale say nothing."""
    return EmbeddingError(
        f"{path} holds {dtype}, as quantising encoders give: multiply the rows by the encoder's "
        "scale and save them as float16"
    )


def map_matrix(path: Path) -> tuple[np.ndarray, mmap.mmap]:
    """Map a ``.npy`` of floating numbers, as a read-only [n, width] array.

    Raises:
        EmbeddingError: it is no ``.npy`` file, holds something other than a matrix of floating
            numbers (Python objects among it), is empty, or is not as long as its header says.
    """
    with opened(path) as file:
        try:
            version = _npy.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = _npy.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = _npy.read_array_header_2_0(file)
            else:
                raise ValueError(f"version {version}")
        except (ValueError, SyntaxError, EOFError) as error:
            raise EmbeddingError(
                f"{path} is not a readable .npy file ({error}): save a matrix with numpy.save"
            ) from None
        if dtype.hasobject:
            raise EmbeddingError(
                f"{path} holds Python objects, which only an unsafe unpickling could read: "
                f"save a matrix of floating numbers"
            )
        if dtype.kind in "iu":
            raise whole_numbers(path, dtype)
        if dtype.kind != "f" or dtype.itemsize not in FLOAT_BYTES:
            raise EmbeddingError(
                f"{path} holds {dtype}, where float16, float32 or float64 belongs: convert it"
            )
        if len(shape) != 2:
            raise EmbeddingError(
                f"{path} has {len(shape)} dimensions {shape}, where a matrix has two: "
                f"one row per token"
            )
        if 0 in shape:
            raise EmbeddingError(f"{path} is empty: its shape is {shape}")
        offset = file.tell()
        expected = offset + shape[0] * shape[1] * dtype.itemsize
        found = os.fstat(file.fileno()).st_size
        if found != expected:
            what = "truncated" if found < expected else "longer than its header says"
            raise EmbeddingError(
                f"{path} is {what}: {shape[0]:,} rows of {shape[1]:,} {dtype} take "
                f"{expected:,} bytes, the file has {found:,}; copy or write it again"
            )
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    matrix: np.ndarray = np.ndarray(
        shape, dtype, buffer=mapping, offset=offset, order="F" if fortran else "C"
    )
    return matrix, mapping


def read_tokens(path: Path) -> list[str]:
    """Read one token per line.

    Raises:
        EmbeddingError: a line is not UTF-8, or is empty.
    """
    with opened(path) as file:
        content = file.read()
    try:
        # Not splitlines, which also splits at characters that may stand in a token.
        tokens = content.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EmbeddingError(f"{path}, line {line}: not UTF-8; write the tokens in UTF-8") from None
    if tokens[-1] == "":
        tokens.pop()
    if "" in tokens:
        raise EmbeddingError(
            f"{path}, line {tokens.index('') + 1}: empty, where the token of a row belongs"
        )
    return tokens


def read_meta(stem: Path) -> dict[str, Any]:
    """Read ``<stem>.json``, or return an empty dict where there is none.

    Raises:
        EmbeddingError: the file is not a JSON object.
    """
    path = with_suffix(stem, ".json")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise EmbeddingError(f"{path} is not JSON ({error}): mend or remove it") from None
    if not isinstance(meta, dict):
        raise EmbeddingError(f"{path} is not a JSON object: mend or remove it")
    return meta


def write_binary(
    stem: str | Path,
    tokens: Sequence[str],
    matrix: np.ndarray,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``<stem>.npy``, ``<stem>.tokens`` and, with ``meta``, ``<stem>.json``.

    A crash between the files leaves a matrix without tokens, which readers refuse, and never new
    rows under old tokens: the old tokens are removed first and the new ones come last.

    Args:
        stem: path without suffix, such as ``data/yelp.useremb``.
        tokens: n different strings without tabs and line breaks.
        matrix: [n, width], float16, float32 or float64.
        meta: what to note about the making; JSON values.

    Returns:
        The path of the ``.npy``.

    Raises:
        EmbeddingError: tokens or matrix break these rules, or hold NaN or infinity.
    """
    stem = Path(stem)
    tokens = list(tokens)
    check_table(tokens, matrix, stem)
    npy, tokens_path, meta_path = (with_suffix(stem, s) for s in (".npy", ".tokens", ".json"))
    with suppress(FileNotFoundError):
        tokens_path.unlink()
    write_matrix(npy, matrix)
    if meta is None:
        with suppress(FileNotFoundError):
            meta_path.unlink()
    else:
        with replacing(meta_path) as file:
            file.write(json.dumps(dict(meta), indent=2, ensure_ascii=False).encode() + b"\n")
    with replacing(tokens_path) as file:
        file.write("".join(t + "\n" for t in tokens).encode("utf-8"))
    return npy


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Save an array as ``.npy``, whole or not at all."""
    with replacing(path) as file:
        _npy.write_array(file, matrix, allow_pickle=False)


def check_table(tokens: Sequence[str], matrix: np.ndarray, path: Path) -> None:
    """Check what is about to be written to ``path``.

    Raises:
        EmbeddingError: the first thing that a reader would refuse.
    """
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise EmbeddingError(f"{path}: a matrix has rows and columns, not the shape {matrix.shape}")
    if matrix.dtype.kind != "f" or matrix.dtype.itemsize not in FLOAT_BYTES:
        raise EmbeddingError(f"{path}: {matrix.dtype} is not float16, float32 or float64")
    if len(tokens) != len(matrix):
        raise EmbeddingError(f"{path}: {len(tokens):,} tokens for {len(matrix):,} rows")
    for row, token in enumerate(tokens):
        if not token or any(c in token for c in "\t\n\r"):
            raise EmbeddingError(
                f"{path}, row {row}: the token {token!r} is empty or has a tab or line break"
            )
        try:
            token.encode("utf-8")
        except UnicodeEncodeError:
            raise EmbeddingError(f"{path}, row {row}: {token!r} is not valid Unicode") from None
    _require_distinct(tokens, path)
    for start in range(0, len(matrix), _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1)).tolist()
        if bad:
            raise EmbeddingError(
                f"{path}: NaN or infinite numbers in the rows of "
                f"{some([tokens[start + i] for i in bad])}"
            )


def _require_distinct(tokens: Sequence[str], path: Path) -> None:
    if len(set(tokens)) == len(tokens):
        return
    first_row: dict[str, int] = {}
    for row, token in enumerate(tokens):
        if token in first_row:
            raise EmbeddingError(
                f"{path}: the token {token!r} stands in row {first_row[token]} and again in "
                f"row {row} (counted from 0); one row per token"
            )
        first_row[token] = row

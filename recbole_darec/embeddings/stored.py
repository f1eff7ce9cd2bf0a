"""Rows that are made of embedding files once, kept beside them.

One file holds two arrays in NumPy's format, one after the other: the key, as JSON in bytes, and
the rows.  Its name has a digest of the key, so that runs with other options, or of another split,
have a file of their own.  All of them may be deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from recbole_darec.data.files import replacing
from recbole_darec.errors import EmbeddingError

__all__ = ["digest_of", "stored_rows", "too_large"]

_VERSION = 1
_npy: Any = np.lib.format  # NumPy gives it no types

_log = logging.getLogger(__name__)


def digest_of(values: np.ndarray) -> str:
    """Return a digest of an array's numbers."""
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def too_large(shape: tuple[int, int], dtype: np.dtype) -> bool:
    """Tell whether an array would take more than a quarter of the machine's memory."""
    import psutil

    return shape[0] * shape[1] * dtype.itemsize > int(psutil.virtual_memory().total) // 4


def stored_rows(
    stem: Path,
    key: Mapping[str, Any],
    shape: tuple[int, int],
    dtype: np.dtype,
    write: Callable[[np.ndarray], None],
    *,
    mapped: bool,
) -> np.ndarray:
    """Return the rows that are kept for a key, made now where there are none.

    A folder that cannot be written to, or a full disk, is no error: it is logged, and the rows stay
    in memory, or in a temporary file where they are to be mapped.

    Args:
        stem: folder and beginning of the file's name.
        key: what the rows depend on, plain values.
        shape: of the rows.
        dtype: of the rows, of floating numbers.
        write: puts the rows into an array of zeros of this shape and type.
        mapped: whether they are too large for the memory while they are made, too.

    Returns:
        the rows, mapped from the file; to write into them changes no file.

    Raises:
        EmbeddingError: the file of this key is cut short, or of other data.
    """
    noted = json.dumps({"version": _VERSION, "dtype": dtype.str, **key}, sort_keys=True).encode()
    digest = hashlib.blake2b(noted, digest_size=6).hexdigest()
    path = stem.with_name(f"{stem.name}.{digest}.cache")
    if path.is_file():
        return _opened(path, noted, shape, dtype)
    rows = None
    if not mapped:
        rows = np.zeros(shape, dtype)
        write(rows)
    try:
        with replacing(path) as file:
            _put(file, noted, shape, dtype, write, rows)
    except OSError as error:
        _log.warning(
            "what was made of the profiles cannot be kept in %s (%s); it will be made again at "
            "the next run",
            path,
            error.strerror or error,
        )
        return _in_passing(noted, shape, dtype, write) if rows is None else rows
    return _opened(path, noted, shape, dtype)


def _put(
    file: IO[bytes],
    noted: bytes,
    shape: tuple[int, int],
    dtype: np.dtype,
    write: Callable[[np.ndarray], None],
    rows: np.ndarray | None,
) -> int:
    """Write key and rows, or have the rows written into the mapped file, from the byte returned."""
    np.save(file, np.frombuffer(noted, np.uint8), allow_pickle=False)
    if rows is not None:
        begin = file.tell()
        np.save(file, rows, allow_pickle=False)
        return begin
    _npy.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    file.flush()
    begin = file.tell()
    size = shape[0] * shape[1] * dtype.itemsize
    if hasattr(os, "posix_fallocate"):  # a full disk is told now, and not by a signal later
        os.posix_fallocate(file.fileno(), begin, size)
    else:
        file.truncate(begin + size)
    target = np.memmap(file.name, dtype, "r+", begin, shape)
    write(target)
    target.flush()
    return begin


def _opened(path: Path, noted: bytes, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            found = _npy.read_array(file, allow_pickle=False).tobytes()
            if found != noted:
                raise EmbeddingError(
                    f"{path} was made of other data than its name says: delete it, and it is made "
                    "anew"
                )
            if _npy.read_magic(file) != (1, 0) or _npy.read_array_header_1_0(file) != (
                shape,
                False,
                dtype,
            ):
                raise ValueError("its header is wrong")
            begin = file.tell()
            if os.fstat(file.fileno()).st_size != begin + shape[0] * shape[1] * dtype.itemsize:
                raise ValueError("it is not as long as its header says")
    except (OSError, ValueError, EOFError) as error:
        raise EmbeddingError(
            f"{path} is cut short or damaged ({error}): delete it, and it is made anew"
        ) from None
    return np.memmap(path, dtype, "c", begin, shape)


def _in_passing(
    noted: bytes,
    shape: tuple[int, int],
    dtype: np.dtype,
    write: Callable[[np.ndarray], None],
) -> np.ndarray:
    """Return rows mapped from a temporary file that is gone with the process."""
    with tempfile.NamedTemporaryFile(prefix="recbole-darec-", delete=False) as file:
        try:
            begin = _put(file, noted, shape, dtype, write, None)
            return np.memmap(file.name, dtype, "c", begin, shape)
        except OSError as error:
            raise EmbeddingError(
                f"the profiles take more than a quarter of the memory, and no file can hold them "
                f"({error.strerror or error}): free space in {tempfile.gettempdir()}"
            ) from None
        finally:
            with suppress(OSError):
                os.unlink(file.name)

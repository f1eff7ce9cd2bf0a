"""Embeddings of one's own: a matrix in a ``.npy``, or alone in a ``.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from recbole_darec.embeddings.binary import map_matrix, whole_numbers
from recbole_darec.errors import EmbeddingError

__all__ = ["read_matrix"]


def read_matrix(path: Path) -> np.ndarray:
    """Return the matrix of a file; one of a ``.npy`` is mapped into memory.

    Raises:
        EmbeddingError: it cannot be read, holds Python objects or whole numbers, or is a ``.npz``
            with several arrays.
    """
    if path.suffix.lower() != ".npz":
        matrix, _ = map_matrix(path)
        return matrix
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
            if len(names) != 1:
                raise EmbeddingError(
                    f"{path} holds {len(names)} arrays ({', '.join(names[:5])}): save the one with "
                    "the embeddings by itself, as .npy"
                )
            found: np.ndarray = arrays[names[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise EmbeddingError(f"{path} cannot be read as .npz: {error}") from None
    if found.dtype.kind in "iu":
        raise whole_numbers(path, found.dtype)
    return found

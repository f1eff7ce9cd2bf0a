"""A table of embeddings as it lies in a file: one token and one row of numbers per line."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["EmbeddingTable"]


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Tokens and their embeddings, in the order of the file.

    Attributes:
        tokens: n different strings; ``tokens[i]`` names row i.
        matrix: [n, width], float16, float32 or float64, read-only where it is mapped from a file.
        path: the file that the user knows it by, for messages.
        meta: what the ``.json`` beside the file says about its making; empty without one.
    """

    tokens: Sequence[str]
    matrix: np.ndarray
    path: Path
    meta: Mapping[str, Any] = field(default_factory=dict)
    mapping: mmap.mmap | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copy some rows [m] of the file, as [m, width] of the file's dtype.

        Pages of a mapped file that this touched are given back at once: a reader that goes through
        a large file in blocks never holds more of it in memory than one block.
        """
        block = self.matrix[rows]
        if self.mapping is not None and hasattr(self.mapping, "madvise"):
            self.mapping.madvise(mmap.MADV_DONTNEED)
        return block

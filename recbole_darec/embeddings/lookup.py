"""Embeddings by token: from the rows of a file to the internal ids of a data set.

RecBole could do this through ``alias_of_*`` and ``preload_weight``, but that merges every token of
the file into the id space, so that items without interactions become candidates of the ranking.
Here the ids are given, and the file has to follow them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.errors import EmbeddingError, some

__all__ = [
    "MISSING",
    "PADDING_TOKEN",
    "Coverage",
    "MappedRows",
    "lookup",
    "lookup_or_map",
    "match_tokens",
]

PADDING_TOKEN = "[PAD]"
MISSING = ("error", "mean", "zero")

_BLOCK_BYTES = 4 << 20
_MAPPED_ROWS = 512
_N_EXAMPLES = 5


@dataclass(frozen=True)
class Coverage:
    """How many ids of a data set have a profile embedding.

    Attributes:
        kind: ``user`` or ``item``.
        n_ids: ids of the data set, without the padding.
        n_covered: those of them that the file has.
        n_unused: rows of the file that are not in the data set.
        missing_examples: the first few tokens that the file has not.
    """

    kind: str
    n_ids: int
    n_covered: int
    n_unused: int
    missing_examples: tuple[str, ...]

    @property
    def n_missing(self) -> int:
        """Ids of the data set that the file has not."""
        return self.n_ids - self.n_covered

    def describe(self) -> str:
        """Say it in one line."""
        share = 100.0 * self.n_covered / self.n_ids if self.n_ids else 100.0
        line = f"{self.n_covered:,} of {self.n_ids:,} {self.kind}s have a profile embedding"
        line += f" ({share:.1f} %)"
        if self.n_missing:
            line += f", without one: {_first(self.missing_examples, self.n_missing)}"
        if self.n_unused:
            line += f"; {self.n_unused:,} rows of the file are not in the data set"
        return line


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Rows of a mapped file by internal id, which stay in the file until they are asked for.

    Attributes:
        table: the file.
        rows: each id's row in it, int64 ``[n_ids]``; -1 for the padding alone.
    """

    table: EmbeddingTable
    rows: np.ndarray

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return len(self.rows) * self.table.width * self.table.matrix.dtype.itemsize

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Copy the rows of some ids ``[m]``, none of them the padding, as ``[m, width]``."""
        rows = self.rows[ids]
        found = np.empty((len(rows), self.table.width), self.table.matrix.dtype)
        # A few at a time, in the order of the file: the system maps sixteen pages for one that is
        # touched, and they are given back after each block.
        order = np.argsort(rows, kind="stable")
        for start in range(0, len(order), _MAPPED_ROWS):
            some_of_them = order[start : start + _MAPPED_ROWS]
            found[some_of_them] = self.table.take(rows[some_of_them])
        return found


def match_tokens(table: EmbeddingTable, tokens_by_id: Sequence[str]) -> np.ndarray:
    """Find each id's row in the file: int64 [n_ids], -1 where there is none and for the padding."""
    row_of = {token: row for row, token in enumerate(table.tokens)}
    rows = np.fromiter((row_of.get(t, -1) for t in tokens_by_id), np.int64, len(tokens_by_id))
    rows[:1] = -1
    return rows


def lookup(
    table: EmbeddingTable,
    tokens_by_id: Sequence[str],
    *,
    kind: str,
    missing: str = "error",
) -> tuple[np.ndarray, Coverage]:
    """Put the file's rows into the order of a data set's internal ids.

    Args:
        table: what was read from the file.
        tokens_by_id: token of each internal id; id 0 is RecBole's padding, ``[PAD]``.
        kind: ``user`` or ``item``, for messages.
        missing: what an id without a row gets: ``error`` refuses, ``mean`` gives the mean of the
            rows of the ids that have one, ``zero`` gives zeros.

    Returns:
        [n_ids, width] in the file's dtype (float32 for a file of float64), row 0 zeros, and the
        coverage.

    Raises:
        EmbeddingError: ids without a row and ``missing`` is ``error``; no id at all has a row; a
            row that is used holds NaN or infinity.
        ValueError: ``missing`` is none of the three, or id 0 is not the padding.
    """
    found, coverage = lookup_or_map(table, tokens_by_id, kind=kind, missing=missing)
    assert isinstance(found, np.ndarray)
    return found, coverage


def lookup_or_map(
    table: EmbeddingTable,
    tokens_by_id: Sequence[str],
    *,
    kind: str,
    missing: str = "error",
    mapped_from: int | None = None,
) -> tuple[np.ndarray | MappedRows, Coverage]:
    """Do as :func:`lookup`, and leave many rows in their file.

    Args:
        table, tokens_by_id, kind, missing: as there.
        mapped_from: from how many bytes on rows stay in their file, if this can be mapped and has
            every id's; None: never.

    Returns:
        the rows, or where they stand in the file, and the coverage.

    Raises:
        EmbeddingError, ValueError: as :func:`lookup`.
    """
    if missing not in MISSING:
        raise ValueError(f"missing must be one of {', '.join(MISSING)}, not {missing!r}")
    # Plain strings are hashed faster than the elements of a NumPy array.
    tokens = tokens_by_id.tolist() if isinstance(tokens_by_id, np.ndarray) else list(tokens_by_id)
    if not tokens or tokens[0] != PADDING_TOKEN:
        raise ValueError(f"id 0 must be the padding token {PADDING_TOKEN!r}")

    rows = match_tokens(table, tokens)
    covered = np.flatnonzero(rows >= 0)
    absent = np.flatnonzero(rows[1:] < 0) + 1
    coverage = Coverage(
        kind=kind,
        n_ids=len(tokens) - 1,
        n_covered=covered.size,
        n_unused=len(table) - np.unique(rows[covered]).size,
        missing_examples=tuple(str(tokens[i]) for i in absent[:_N_EXAMPLES]),
    )
    _require_coverage(coverage, table, missing)

    dtype = np.dtype(np.float16 if table.matrix.dtype.itemsize == 2 else np.float32)
    mapped = MappedRows(replace(table, tokens=()), rows)  # the tokens have done their work
    stays = mapped_from is not None and mapped.nbytes >= mapped_from and table.mapping is not None
    stays = stays and not absent.size and table.matrix.dtype == dtype
    out = np.zeros((0 if stays else len(tokens), table.width), dtype=dtype)
    total = np.zeros(table.width)
    in_file_order = covered[np.argsort(rows[covered], kind="stable")]
    block_rows = max(1, _BLOCK_BYTES // max(1, table.width * table.matrix.dtype.itemsize))
    for start in range(0, in_file_order.size, block_rows):
        ids = in_file_order[start : start + block_rows]
        with np.errstate(over="ignore"):
            block = table.take(rows[ids]).astype(dtype, copy=False)
        _require_finite(block, [str(tokens[i]) for i in ids], kind, table)
        if stays:
            continue
        out[ids] = block
        if missing == "mean" and absent.size:
            total += block.sum(axis=0, dtype=np.float64)
    if missing == "mean" and absent.size:
        out[absent] = total / covered.size
    return mapped if stays else out, coverage


def _first(examples: Sequence[str], n: int) -> str:
    return ", ".join(examples) + (", …" if n > len(examples) else "")


def _require_coverage(coverage: Coverage, table: EmbeddingTable, missing: str) -> None:
    kind, n_ids, n_missing = coverage.kind, coverage.n_ids, coverage.n_missing
    if n_missing == 0:
        return
    examples = _first(coverage.missing_examples, n_missing)
    if coverage.n_covered == 0:
        raise EmbeddingError(
            f"none of the {n_ids:,} {kind}s has a profile embedding in {table.path}: the data set "
            f"has {examples}, the file has "
            f"{_first(table.tokens[:_N_EXAMPLES], len(table))}; "
            f"is it the file of another data set, or are its ids written differently?"
        )
    if missing == "error":
        raise EmbeddingError(
            f"{n_missing:,} of {n_ids:,} {kind}s have no profile embedding in {table.path}: "
            f"{examples}; set missing_profile=mean or missing_profile=zero, or add them"
        )


def _require_finite(
    block: np.ndarray, tokens: Sequence[str], kind: str, table: EmbeddingTable
) -> None:
    finite = np.isfinite(block)
    if finite.all():
        return
    bad = np.flatnonzero(~finite.all(axis=1)).tolist()
    raise EmbeddingError(
        f"{table.path}: NaN or infinite numbers in the rows of {kind}s "
        f"{some([tokens[i] for i in bad])}; mend or remove these rows"
    )

"""Embeddings by token: from the rows of a file to the internal ids of a data set.

RecBole could do this through ``alias_of_*`` and ``preload_weight``, but that merges every token of
the file into the id space, so that items without interactions become candidates of the ranking.
Here the ids are given, and the file has to follow them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.errors import EmbeddingError, some

__all__ = [
    "MISSING",
    "PADDING_TOKEN",
    "Coverage",
    "block_rows",
    "cover",
    "fill",
    "lookup",
    "match_tokens",
    "require_finite",
    "rows_dtype",
]

PADDING_TOKEN = "[PAD]"
MISSING = ("error", "mean", "zero")

_BLOCK_BYTES = 4 << 20
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
    rows, coverage = cover(table, tokens_by_id, kind=kind, missing=missing)
    out = np.zeros((len(rows), table.width), dtype=rows_dtype(table))
    fill(out[1:], table, rows, tokens_by_id, kind=kind, missing=missing)
    return out, coverage


def rows_dtype(table: EmbeddingTable) -> np.dtype:
    """Return the type that rows of a file have in memory: its own half precision, or float32."""
    return np.dtype(np.float16 if table.matrix.dtype.itemsize == 2 else np.float32)


def block_rows(table: EmbeddingTable) -> int:
    """Return how many rows are read from a file at a time."""
    return max(1, _BLOCK_BYTES // max(1, table.width * table.matrix.dtype.itemsize))


def cover(
    table: EmbeddingTable, tokens_by_id: Sequence[str], *, kind: str, missing: str
) -> tuple[np.ndarray, Coverage]:
    """Return the row of each id in the file, as :func:`match_tokens`, and the coverage.

    Args and errors are those of :func:`lookup`, but for NaN and infinity: no number is read.
    """
    if missing not in MISSING:
        raise ValueError(f"missing must be one of {', '.join(MISSING)}, not {missing!r}")
    # Plain strings are hashed faster than the elements of a NumPy array.
    tokens = tokens_by_id.tolist() if isinstance(tokens_by_id, np.ndarray) else list(tokens_by_id)
    if not tokens or tokens[0] != PADDING_TOKEN:
        raise ValueError(f"id 0 must be the padding token {PADDING_TOKEN!r}")
    rows = match_tokens(table, tokens)
    absent = np.flatnonzero(rows[1:] < 0) + 1
    covered = rows[rows >= 0]
    coverage = Coverage(
        kind=kind,
        n_ids=len(tokens) - 1,
        n_covered=covered.size,
        n_unused=len(table) - np.unique(covered).size,
        missing_examples=tuple(str(tokens[i]) for i in absent[:_N_EXAMPLES]),
    )
    _require_coverage(coverage, table, missing)
    return rows, coverage


def fill(
    into: np.ndarray,
    table: EmbeddingTable,
    rows: np.ndarray,
    tokens_by_id: Sequence[str],
    *,
    kind: str,
    missing: str,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> None:
    """Read the file's rows into their places, block by block in the order of the file.

    Args:
        into: zeros ``[n_ids - 1, width]``: the row of each id, without the padding's.
        table: what was read from the file.
        rows: the row of each id in the file, as :func:`cover` returns it.
        tokens_by_id: token of each id, for messages.
        kind: ``user`` or ``item``, for messages.
        missing: what an id without a row gets, as in :func:`lookup`.
        change: what is made of a block of the file's rows, of the width of ``into``.

    Raises:
        EmbeddingError: a row that is used holds NaN or infinity, or does in the dtype of ``into``.
    """
    covered = np.flatnonzero(rows >= 0)
    absent = np.flatnonzero(rows[1:] < 0)
    total = np.zeros(into.shape[1])
    in_file_order = covered[np.argsort(rows[covered], kind="stable")]
    for start in range(0, in_file_order.size, block_rows(table)):
        ids = in_file_order[start : start + block_rows(table)]
        block = table.take(rows[ids])
        names = [str(tokens_by_id[i]) for i in ids]
        if change is not None:
            require_finite(block, names, kind, table)
            block = change(block)
        with np.errstate(over="ignore"):
            block = block.astype(into.dtype, copy=False)
        require_finite(block, names, kind, table)
        into[ids - 1] = block
        if missing == "mean" and absent.size:
            total += block.sum(axis=0, dtype=np.float64)
    if missing == "mean" and absent.size:
        into[absent] = total / covered.size


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


def require_finite(
    block: np.ndarray, tokens: Sequence[str], kind: str, table: EmbeddingTable
) -> None:
    """Refuse NaN and infinity in rows ``block`` of a file, naming those of ``tokens``."""
    finite = np.isfinite(block)
    if finite.all():
        return
    bad = np.flatnonzero(~finite.all(axis=1)).tolist()
    raise EmbeddingError(
        f"{table.path}: NaN or infinite numbers in the rows of {kind}s "
        f"{some([tokens[i] for i in bad])}; mend or remove these rows"
    )

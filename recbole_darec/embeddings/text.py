"""RecBole's atomic text form of embeddings: ``<ds>.useremb``, ``<ds>.itememb``.

A header such as ``uid:token<TAB>user_emb:float_seq``, then one line per user or item: its token,
a tab, and the numbers with spaces between them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np

from recbole_darec.data.files import replacing
from recbole_darec.embeddings.binary import check_table, opened
from recbole_darec.embeddings.decimals import parse_decimals
from recbole_darec.errors import EmbeddingError

__all__ = ["parse_text", "write_text"]

_BATCH_BYTES = (
    512 << 10
)  # more would leave the CPU cache; with less, the cost of a NumPy call shows
_PROGRESS_BYTES = 20 << 20

_Payload = bytes | memoryview


def parse_text(
    path: Path, field_separator: str = "\t", seq_separator: str = " "
) -> tuple[list[str], np.ndarray]:
    """Read a whole text file.

    Args:
        path: the file; UTF-8.
        field_separator: between the columns.
        seq_separator: between the numbers; several in a row count as one.

    Returns:
        The tokens and a float32 matrix [n, width], each number ``float32(float(text))``.

    Raises:
        EmbeddingError: no header, a ragged row, a number that is none or is not finite, a token
            that is missing, repeated or not UTF-8, no rows at all; with file and line number.
    """
    if not field_separator or not seq_separator or field_separator == seq_separator:
        raise ValueError("field_separator and seq_separator must be two different strings")
    with opened(path, _BATCH_BYTES) as file:
        return _Reader(path, file, field_separator, seq_separator).read()


def write_text(
    path: str | Path,
    tokens: Sequence[str],
    matrix: np.ndarray,
    id_field: str,
    emb_field: str,
) -> Path:
    """Write an atomic text file that RecBole reads too.

    Numbers are written with as many digits as it takes to read the same float32 back.

    Args:
        path: the file, such as ``data/yelp.useremb``.
        tokens: n different strings without tabs and line breaks.
        matrix: [n, width], float16, float32 or float64.
        id_field: name of the token column, such as ``uid``.
        emb_field: name of the float_seq column, such as ``user_emb``.

    Returns:
        The path.

    Raises:
        EmbeddingError: tokens or matrix break these rules, or hold NaN or infinity.
    """
    path = Path(path)
    tokens = list(tokens)
    check_table(tokens, matrix, path)
    with replacing(path) as file:
        file.write(f"{id_field}:token\t{emb_field}:float_seq\n".encode())
        for token, row in zip(tokens, matrix):
            # float16 goes through float32: its own shortest form reads back as another float32.
            numbers = row.astype(np.float32) if row.dtype.itemsize == 2 else row
            file.write(f"{token}\t{' '.join(map(str, numbers))}\n".encode())
    return path


def _keep_freed_memory() -> None:
    """Have the C library keep the batches' work arrays for the next batch.

    glibc gives freed memory back to the system as soon as it is more than a threshold, and takes
    it anew, page by page, at the next batch: more than half of the time in a fresh process.  The
    threshold follows the largest block that was freed so far; this frees one (that is never
    touched, and so takes no memory).
    """
    np.empty(16 << 20, dtype=np.uint8)


class _Reader:
    """One pass over one file: the state of the parse, and the words for what is wrong."""

    def __init__(self, path: Path, file: IO[bytes], field_sep: str, seq_sep: str) -> None:
        self.path = path
        self.file = file
        self.field_sep = field_sep.encode()
        self.seq_sep = seq_sep.encode()
        self.size = path.stat().st_size
        self.n_columns = self.token_column = self.value_column = 0
        self.width = 0
        self.line_of: dict[str, int] = {}  # in file order, and so also the list of tokens
        self.matrix = np.empty((0, 0), dtype=np.float32)

    def read(self) -> tuple[list[str], np.ndarray]:
        self._read_header()
        _keep_freed_memory()
        with self._progress() as bar:
            numbers: list[int] = []
            payloads: list[_Payload] = []
            pending = 0
            for number, line in enumerate(self.file, start=2):
                if line.isspace():
                    continue
                numbers.append(number)
                payloads.append(self._split(number, line))
                pending += len(line)
                if pending >= _BATCH_BYTES:
                    self._store(numbers, payloads)
                    if bar is not None:
                        bar.update(pending)
                    numbers, payloads, pending = [], [], 0
            if numbers:
                self._store(numbers, payloads)
        if not self.line_of:
            raise EmbeddingError(f"{self.path} has a header and no rows")
        self.matrix.resize((len(self.line_of), self.width), refcheck=False)
        return list(self.line_of), self.matrix

    def _progress(self) -> AbstractContextManager[Any]:
        if self.size < _PROGRESS_BYTES or not sys.stderr.isatty():
            return nullcontext()
        from tqdm import tqdm

        return tqdm(
            total=self.size,
            unit="B",
            unit_scale=True,
            desc=f"Reading {self.path.name}",
        )

    def _read_header(self) -> None:
        line = self.file.readline()
        if not line.strip():
            raise EmbeddingError(
                f"{self.path} is empty: it needs a header and rows"
                if self.size == 0
                else f"{self.path}, line 1: empty, where a header belongs"
            )
        header = line.rstrip(b"\r\n").decode("utf-8-sig", errors="replace")
        types = [f.rpartition(":")[2] for f in header.split(self.field_sep.decode())]
        if ":" not in header or types.count("token") != 1 or types.count("float_seq") != 1:
            shown = header if len(header) <= 60 else header[:60] + "…"
            raise EmbeddingError(
                f"{self.path}, line 1: {shown!r} is not a header with one token column and one "
                f"float_seq column, such as 'uid:token<TAB>user_emb:float_seq'"
            )
        self.n_columns = len(types)
        self.token_column = types.index("token")
        self.value_column = types.index("float_seq")

    def _split(self, number: int, line: bytes) -> _Payload:
        """Note the line's token; return its numbers."""
        stop = len(line) - (2 if line.endswith(b"\r\n") else 1 if line.endswith(b"\n") else 0)
        sep = len(self.field_sep)
        cells = []  # where each column is: the line itself is not copied
        start = 0
        while (at := line.find(self.field_sep, start, stop)) >= 0:
            cells.append(slice(start, at))
            start = at + sep
        cells.append(slice(start, stop))
        if len(cells) != self.n_columns:
            raise self._error(
                number, f"{len(cells)} columns, where the header has {self.n_columns}"
            )
        try:
            token = line[cells[self.token_column]].decode("utf-8")
        except UnicodeDecodeError:
            raise self._error(number, "the token is not UTF-8") from None
        if not token:
            raise self._error(number, "the token is empty")
        earlier = self.line_of.setdefault(token, number)
        if earlier != number:
            raise self._error(
                number, f"the token {token!r} stands in line {earlier} already; one row per token"
            )
        if self.seq_sep != b" ":
            return line[cells[self.value_column]].replace(self.seq_sep, b" ")
        return memoryview(line)[cells[self.value_column]]

    def _store(self, numbers: list[int], payloads: list[_Payload]) -> None:
        """Convert the numbers of some lines and append the rows."""
        row_ends = np.cumsum([len(p) + 1 for p in payloads])
        try:
            values, ends = parse_decimals(b" ".join(payloads) + b" ")
        except ValueError:
            raise self._first_fault(numbers, payloads) from None
        counts = np.diff(np.searchsorted(ends, row_ends), prepend=0)
        width = self.width or int(counts[0])
        if width == 0 or (counts != width).any() or not np.isfinite(values).all():
            raise self._first_fault(numbers, payloads)
        stop = len(self.line_of)
        start = stop - len(numbers)
        if stop > len(self.matrix):
            self._grow(start, stop, width)
        self.matrix[start:stop] = values.reshape(-1, width)

    def _grow(self, n_stored: int, n_needed: int, width: int) -> None:
        # Guess from the lines so far; pages that are never written take no memory.
        guess = int(n_needed * self.size / max(1, self.file.tell()) * 1.02) + 16
        self.width = width
        if n_stored == 0:
            self.matrix = np.empty((max(n_needed, guess), width), dtype=np.float32)
        else:
            self.matrix.resize((max(n_needed, guess), width), refcheck=False)

    def _first_fault(self, numbers: list[int], payloads: list[_Payload]) -> EmbeddingError:
        """Find the first line that cannot be read, and say why."""
        width = self.width
        for number, payload in zip(numbers, payloads):
            texts = [t for t in bytes(payload).split(b" ") if t]
            for column, text in enumerate(texts, start=1):
                shown = text[:40].decode("utf-8", errors="replace")
                try:
                    with np.errstate(over="ignore"):
                        finite = bool(np.isfinite(np.float32(float(text))))
                except ValueError:
                    return self._error(number, f"number {column} is {shown!r}, which is no number")
                if not finite:
                    return self._error(
                        number, f"number {column} is {shown!r}, which is not a finite float32"
                    )
            if not texts:
                return self._error(number, "no numbers")
            width = width or len(texts)
            if len(texts) != width:
                return self._error(
                    number, f"{len(texts):,} numbers, where the rows before have {width:,}"
                )
        raise AssertionError("a batch was refused in which every line can be read")

    def _error(self, number: int, what: str) -> EmbeddingError:
        token = next((t for t, line in self.line_of.items() if line == number), None)
        where = f"{self.path}, line {number}" + (f" (token {token!r})" if token else "")
        return EmbeddingError(f"{where}: {what}")

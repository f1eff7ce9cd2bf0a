"""RecBole's atomic text form of embeddings: ``<ds>.useremb``, ``<ds>.itememb``.

A header such as ``uid:token<TAB>user_emb:float_seq``, then one line per user or item: its token,
a tab, and the numbers with spaces between them.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np

from recbole_darec.data.files import replacing
from recbole_darec.embeddings.binary import check_table, opened
from recbole_darec.errors import EmbeddingError

__all__ = ["parse_text", "write_text"]

_BUFFER_BYTES = 512 << 10  # a line of 1,536 numbers has some 20 KB
_PROGRESS_BYTES = 20 << 20


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
    with opened(path, _BUFFER_BYTES) as file:
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


class _Reader:
    """One pass over one file: the state of the parse, and the words for what is wrong.

    NumPy asks for one line at a time, so that the line it refuses is the one it was given last.
    """

    def __init__(self, path: Path, file: IO[bytes], field_sep: str, seq_sep: str) -> None:
        self.path = path
        self.file = file
        self.field_sep = field_sep.encode()
        self.seq_sep = seq_sep.encode()
        self.size = path.stat().st_size
        self.n_columns = self.token_column = self.value_column = 0
        self.width = 0
        self.line_of: dict[str, int] = {}  # in file order, and so also the list of tokens
        self.last: tuple[int, bytes] = (0, b"")

    def read(self) -> tuple[list[str], np.ndarray]:
        self._read_header()
        rows = self._rows()
        first = next(rows, None)
        if first is None:
            raise EmbeddingError(f"{self.path} has a header and no rows")
        self.width = first.count(b" ") + 1
        try:
            matrix = np.loadtxt(
                itertools.chain([first], rows),
                dtype=np.float32,
                comments=None,
                delimiter=" ",
                ndmin=2,
                encoding="ascii",
            )
        except ValueError as error:
            raise self._refused(*self.last, str(error)) from None
        if not np.isfinite([np.min(matrix), np.max(matrix)]).all():
            raise self._not_finite(int(np.argmin(np.isfinite(matrix).all(axis=1))))
        return list(self.line_of), matrix

    def _rows(self) -> Iterator[bytes]:
        """Yield the numbers of each line, with single spaces between them."""
        with self._progress() as bar:
            for number, line in enumerate(self.file, start=2):
                if bar is not None:
                    bar.update(len(line))
                if line.isspace():
                    continue
                row = _single_spaced(self._split(number, line))
                if not row:
                    raise self._error(number, "no numbers")
                self.last = number, row
                yield row

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

    def _split(self, number: int, line: bytes) -> bytes:
        """Note the line's token; return its numbers, with one or more spaces between them."""
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
        return line[cells[self.value_column]].replace(self.seq_sep, b" ")

    def _refused(self, number: int, row: bytes, why: str) -> EmbeddingError:
        """Say why NumPy refused the numbers of a line."""
        texts = row.split(b" ")
        for column, text in enumerate(texts, start=1):
            try:
                float(text)
            except ValueError:
                shown = text[:40].decode("utf-8", errors="replace")
                return self._error(number, f"number {column} is {shown!r}, which is no number")
        if len(texts) != self.width:
            return self._error(
                number, f"{len(texts):,} numbers, where the rows before have {self.width:,}"
            )
        return self._error(number, why)  # such as 1_000, a number in Python only

    def _not_finite(self, row: int) -> EmbeddingError:
        """Show the first NaN or infinity of a row of the matrix as it stands in the file."""
        number = list(self.line_of.values())[row]
        self.file.seek(0)
        line = next(itertools.islice(self.file, number - 1, None))
        texts = _single_spaced(self._split(number, line)).split(b" ")
        with np.errstate(over="ignore"):
            finite = np.isfinite([np.float32(float(text)) for text in texts])
        column = int(np.argmin(finite))
        return self._error(
            number,
            f"number {column + 1} is {texts[column][:40].decode()!r}, which is not a finite "
            "float32",
        )

    def _error(self, number: int, what: str) -> EmbeddingError:
        token = next((t for t, line in self.line_of.items() if line == number), None)
        where = f"{self.path}, line {number}" + (f" (token {token!r})" if token else "")
        return EmbeddingError(f"{where}: {what}")


def _single_spaced(numbers: bytes) -> bytes:
    if b"  " in numbers or numbers.startswith(b" ") or numbers.endswith(b" "):
        return b" ".join(filter(None, numbers.split(b" ")))
    return numbers

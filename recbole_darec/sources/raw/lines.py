"""Raw files line by line: plain or gzip, with the faults counted instead of raised.

A raw file of reviews is never held in memory: :func:`read_lines` gives one line at a time, and what
cannot be used is counted in a :class:`Faults`, which stops the run once there are too many.
:func:`read_blocks` gives many lines at once, for :mod:`.columns`.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from recbole_darec.errors import DataError

__all__ = [
    "MAX_LINE",
    "MAX_ROWS",
    "Fault",
    "Faults",
    "LineFault",
    "Record",
    "lines_of",
    "read_blocks",
    "read_lines",
    "text_of",
]

MAX_LINE = 8 << 20
"""The longest line in bytes; a longer one is a fault.  It bounds what one line can take."""

MAX_ROWS = 65_535
"""The most interactions of one line; one with more is a fault."""

_BUFFER = 1 << 20
_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_CRLF = "CRLF line end"
_FEW = 1000  # the share of faults is taken of at least so many lines
_TICK = 5000  # lines between two looks at the progress bar


Record = bytes | dict[str, Any]
"""One line of a text file, or one row of a table."""


class LineFault(Exception):
    """One line cannot be used; its text names the kind, of which there are few."""


def text_of(line: Record) -> str:
    """Return a line of a text file as text.

    Raises:
        LineFault: it is a row of a table, longer than :data:`MAX_LINE`, or not UTF-8.
    """
    if isinstance(line, dict):
        raise LineFault("a row of a table")
    if len(line) > MAX_LINE:
        raise LineFault(f"longer than {MAX_LINE >> 20} MiB")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise LineFault("not UTF-8") from None


class Fault(NamedTuple):
    """How often one kind of fault occurred, and where first (``file:line``)."""

    times: int
    first: str


@dataclass
class Faults:
    """The faults of one file.

    Attributes:
        name: the file's name, for messages.
        share: the share of lines that may be faulty.
        lines: lines read so far, empty ones too.
        found: kind -> :class:`Fault`; these lines are skipped.
        mended: kind -> :class:`Fault`; these lines are used all the same.
    """

    name: str
    share: float
    lines: int = 0
    found: dict[str, Fault] = field(default_factory=dict)
    mended: dict[str, Fault] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many faults there are."""
        return sum(fault.times for fault in self.found.values())

    def add(self, kind: str) -> None:
        """Count a fault of the present line.

        The share is taken of at least 1,000 lines, so that the first bad line of a file does not
        end the run.

        Raises:
            DataError: there are now more faults than ``share`` allows.
        """
        _count(self.found, kind, f"{self.name}:{self.lines}")
        if self.total > self.share * max(self.lines, _FEW):
            worst = max(self.found, key=lambda kind: self.found[kind].times)
            count, first = self.found[worst]
            raise DataError(
                f"{self.name}: {self.total:,} of the first {self.lines:,} lines cannot be used, "
                f"more than {100 * self.share:g} % (mostly: {worst}, {count:,} times, first at "
                f"{first}); mend the file, or raise --max-faults"
            )

    def mend(self, kind: str) -> None:
        """Count something odd about the present line that does not stop it from being used."""
        _count(self.mended, kind, f"{self.name}:{self.lines}")

    def pass_lines(self, number: int, crlf: bool) -> None:
        """Count the next lines, of which nothing is odd but, of each, the CRLF at its end."""
        if crlf:
            _count(self.mended, _CRLF, f"{self.name}:{self.lines + 1}", number)
        self.lines += number


def _count(found: dict[str, Fault], kind: str, where: str, times: int = 1) -> None:
    count, first = found.get(kind, Fault(0, where))
    found[kind] = Fault(count + times, first)


def read_lines(path: Path, faults: Faults | None = None, what: str = "") -> Iterator[bytes]:
    """Give the lines of a file, without their ends; gzip is recognised by its content.

    A byte order mark at a line's start and a carriage return at its end are taken off, and noted
    as mended.  An empty line is given like any other, so that lines keep their numbers.  Of a line
    longer than :data:`MAX_LINE` the first ``MAX_LINE + 1`` bytes are given.

    Args:
        path: the file.
        faults: counts the lines; ``None`` where that was done before.
        what: what the progress bar says; none without it.

    Raises:
        DataError: the file cannot be read, or its compressed data is cut off or damaged.
    """
    with _opened(path) as (file, raw), _bar(raw, what) as tick:
        # readline, not iteration: a file without line breaks must not fill the memory
        number = 0
        while True:
            line = file.readline(MAX_LINE + 1)
            if not line:
                return
            number += 1
            if faults is not None:
                faults.lines = number
            if number % _TICK == 0:
                tick()
            if len(line) > MAX_LINE and line[-1:] != b"\n":
                _skip_line(file)
            yield _mended(line, faults)


def read_blocks(path: Path, what: str = "") -> Iterator[bytes]:
    """Give the content of a file in blocks of whole lines, each about a mebibyte.

    The first line, which may name the columns or begin with a byte order mark, comes alone.  Of a
    line longer than :data:`MAX_LINE` at least ``MAX_LINE + 1`` bytes are given.

    Args:
        path: the file; gzip is recognised by its content.
        what: what the progress bar says; none without it.

    Raises:
        DataError: the file cannot be read, or its compressed data is cut off or damaged.
    """
    with _opened(path) as (file, raw), _bar(raw, what) as tick:
        size = 0
        while True:
            content = file.read(size)
            if content[-1:] != b"\n":
                line = file.readline(MAX_LINE + 1)
                if len(line) > MAX_LINE and line[-1:] != b"\n":
                    _skip_line(file)
                content += line
            if not content:
                return
            yield content
            tick()
            size = _BLOCK


def lines_of(content: bytes, faults: Faults | None = None) -> Iterator[bytes]:
    """Give the lines of a block of :func:`read_blocks` as :func:`read_lines` gives them."""
    for line in io.BytesIO(content):
        if faults is not None:
            faults.lines += 1
        yield _mended(line[: MAX_LINE + 1], faults)


def _mended(line: bytes, faults: Faults | None) -> bytes:
    """Return a line without its end and without a byte order mark."""
    if line[-1:] == b"\n":
        line = line[:-1]
    if line[-1:] == b"\r":
        line = line.rstrip(b"\r")
        if faults is not None:
            faults.mend(_CRLF)
    if line[:3] == _BOM:
        line = line[3:]
        if faults is not None:
            faults.mend("byte order mark")
    return line


def _skip_line(file: IO[bytes]) -> None:
    while True:
        rest = file.readline(MAX_LINE)
        if not rest or rest[-1:] == b"\n":
            return


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file; gives the reader of its content, and the file itself for its position."""
    try:
        with open(path, "rb") as raw:
            if raw.peek(2)[:2] == b"\x1f\x8b":
                # gzip's own readline is Python; the buffer around it makes lines in C.
                unpacked = gzip.GzipFile(fileobj=raw)
                with io.BufferedReader(unpacked, _BUFFER) as file:
                    yield file, raw
            else:
                yield raw, raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the compressed data is cut off or damaged ({error}); download it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


@contextmanager
def _bar(raw: IO[bytes], what: str) -> Iterator[Callable[[], None]]:
    """Show how far the file is read; gives the function that moves the bar."""
    from tqdm import tqdm

    total = os.fstat(raw.fileno()).st_size
    with tqdm(
        total=total,
        desc=what,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=None if what else True,
        leave=False,
    ) as bar:

        def tick() -> None:
            bar.update(raw.tell() - bar.n)

        yield tick

"""The interactions of a raw file in two passes, so that no text is held in memory.

The first pass (:func:`scan`) keeps per interaction 25 bytes or less: a 64-bit hash of each id, the
time, whether the rating suffices.  :func:`.selection.select` decides on these which stay.  The
second pass (:func:`read_again`) reads the lines of those once more, and gives them whole.

Delimited text, JSON lines and Parquet are read in columns, part by part (:mod:`.parts`); a part
with anything odd in it, and every other file, record by record.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recbole_darec.data.atomic import token_fault
from recbole_darec.errors import DataError
from recbole_darec.sources.raw.columns import Block, Coded
from recbole_darec.sources.raw.files import read_file
from recbole_darec.sources.raw.lines import MAX_ROWS, Faults, LineFault, Record
from recbole_darec.sources.raw.parts import Part, parts_of
from recbole_darec.sources.raw.selection import Scan, Selection
from recbole_darec.sources.raw.source import Row, Source

__all__ = ["Kept", "KeptBlock", "read_again", "scan"]

_FEW = 0.6  # of a block's lines: so many or more are read with the others


class Kept(NamedTuple):
    """One interaction that stays: its number among the kept ones, its two numbers, and itself."""

    number: int
    user: int
    item: int
    row: Row


class KeptBlock(NamedTuple):
    """Interactions that stay, one below the other.

    Attributes:
        number: of the first among the kept ones.
        users, items: their numbers, int32, shape ``(n,)``.
        user_ids, item_ids: their ids; not each distinct text needs to have a row.
        ratings, times: float64, shape ``(n,)``.
        reviews: objects, shape ``(n,)``; None where the source has none.
    """

    number: int
    users: np.ndarray
    items: np.ndarray
    user_ids: Coded
    item_ids: Coded
    ratings: np.ndarray
    times: np.ndarray
    reviews: np.ndarray | None = None

    def rows(self) -> Iterator[Kept]:
        """Give them one by one."""
        columns = (
            self.users, self.items, self.user_ids.places, self.item_ids.places, self.ratings,
            self.times,
        )  # fmt: skip
        users, items = self.user_ids.texts, self.item_ids.texts
        reviews = [""] * len(self.users) if self.reviews is None else self.reviews.tolist()
        for number, (user, item, u, i, rating, time, review) in enumerate(
            zip(*(column.tolist() for column in columns), reviews), self.number
        ):
            yield Kept(number, user, item, Row(users[u], items[i], rating, time, review))


def scan(source: Source, faults: Sequence[Faults], min_rating: float | None) -> Scan:
    """Read all interactions once.

    Args:
        source: the raw data.
        faults: of each file, counts lines that cannot be used.
        min_rating: the least rating that is enough; ``None`` takes all.

    Raises:
        DataError: the file cannot be read, or has too many faults.
    """
    read = Scan(array("H"), array("q"), array("q"), array("d"), bytearray())
    bar = -np.inf if min_rating is None else min_rating
    for path, of_file in zip(source.files, faults):
        parts = parts_of(source, path, "reading")
        if parts is None:
            lines = read_file(path, of_file, "reading", source.fields)
            _scan_lines(read, source, lines, of_file, bar)
            continue
        for part in parts:
            block = part.block()
            if block is None:
                _scan_lines(read, source, part.records(of_file), of_file, bar)
            else:
                _scan_block(read, source, block, of_file, bar)
    return read


def _scan_lines(
    read: Scan, source: Source, lines: Iterable[Record], faults: Faults, bar: float
) -> None:
    users, items, times, enough = read.users, read.items, read.times, read.enough
    timed = source.timed
    for line in lines:
        rows = _rows(source, line, faults)
        read.per_line.append(len(rows))
        for row in rows:
            # Python's own hash of a text: 64 bits, keyed, and faster than a digest.
            users.append(hash(row.user))
            items.append(hash(row.item))
            enough.append(row.rating >= bar)
            if timed:
                times.append(row.time)


def _scan_block(read: Scan, source: Source, block: Block, faults: Faults, bar: float) -> None:
    counts = block.counts
    faults.pass_lines(len(counts), block.crlf)
    read.per_line.frombytes(counts.tobytes())
    for hashes, ids in ((read.users, block.users), (read.items, block.items)):
        found = np.fromiter(map(hash, ids.texts), np.int64, len(ids.texts))
        hashes.frombytes(found[ids.places].tobytes())
    read.enough += (block.ratings >= bar).tobytes()
    if source.timed:
        read.times.frombytes(block.times.tobytes())


def _rows(source: Source, line: Record, faults: Faults) -> Sequence[Row]:
    """Return the interactions of a line; none, and a fault counted, where it cannot be used."""
    if not line or (isinstance(line, bytes) and line.isspace()):
        faults.mend("empty line")
        return ()
    try:
        rows = source.parse(line)
        if len(rows) > MAX_ROWS:
            raise LineFault(f"more than {MAX_ROWS:,} interactions")
        for row in rows:
            if token_fault(row.user):
                raise LineFault("a user id that RecBole would lose")
            if token_fault(row.item):
                raise LineFault("an item id that RecBole would lose")
    except LineFault as fault:
        faults.add(str(fault))
        return ()
    return rows


def read_again(source: Source, read: Scan, selection: Selection) -> Iterator[Kept | KeptBlock]:
    """Give the interactions that stay, in the order of the file.

    Raises:
        DataError: the file is no longer what the first pass read.
    """
    again = _Again(source, read, selection)
    for path in source.files:
        parts = parts_of(source, path, "writing", source.reviewed)
        if parts is None:
            yield from again.of_lines(read_file(path, None, "writing", source.fields))
            continue
        for part in parts:
            yield from again.of_part(part)
    if again.line != len(read.per_line):
        raise again.changed


class _Again:
    """The second pass, as far as it has come.

    Attributes:
        line, place, kept: lines, interactions and kept interactions so far.
        changed: the error for a file that is another now.
    """

    def __init__(self, source: Source, read: Scan, selection: Selection) -> None:
        self._source, self._per_line, self._keep = source, read.per_line, selection.keep
        self._counts = np.frombuffer(read.per_line, dtype=np.uint16)
        self._marks = np.frombuffer(selection.keep, dtype=np.uint8)
        self._users, self._items = selection.users, selection.items
        self.line = self.place = self.kept = 0
        self.changed = DataError(f"{source.interactions} changed while it was read; run again")

    def of_lines(self, lines: Iterable[Record]) -> Iterator[Kept]:
        """Give those of the next lines."""
        keep, per_line = self._keep, self._per_line
        users, items = self._users.data, self._items.data
        for line in lines:
            if self.line == len(per_line):
                raise self.changed
            count, place = per_line[self.line], self.place
            self.line += 1
            self.place += count
            if not (count and any(keep[place : place + count])):
                continue
            try:
                rows = self._source.parse(line)
            except LineFault:
                raise self.changed from None
            if len(rows) != count:
                raise self.changed
            for offset, row in enumerate(rows):
                if keep[place + offset]:
                    kept = self.kept
                    self.kept += 1
                    yield Kept(kept, users[kept], items[kept], row)

    def of_part(self, part: Part) -> Iterator[Kept | KeptBlock]:
        """Give those of the next part."""
        size = len(part)
        counts = self._counts[self.line : self.line + size]
        total = int(counts.sum())
        keep = self._marks[self.place : self.place + total]
        if len(counts) == size and not keep.any():
            self.line, self.place = self.line + size, self.place + total
            return
        if len(counts) < size:
            raise self.changed
        ends = np.cumsum(counts, dtype=np.int64)
        stay = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
        any_stays = stay[ends] > stay[ends - counts]
        lines = np.flatnonzero(any_stays)
        wanted = part
        if len(lines) < _FEW * size:
            keep = keep[np.repeat(any_stays, counts)]
            wanted, counts = part.some(lines), counts[lines]
        block = wanted.block(self._source.reviewed)
        if block is None:
            yield from self.of_lines(part.records())
            return
        if not np.array_equal(block.counts, counts):
            raise self.changed
        rows = np.flatnonzero(keep)
        number = self.kept
        end = number + len(rows)
        self.line, self.place, self.kept = self.line + size, self.place + total, end
        yield KeptBlock(
            number,
            self._users[number:end],
            self._items[number:end],
            Coded(block.users.places[rows], block.users.texts),
            Coded(block.items.places[rows], block.items.texts),
            block.ratings[rows],
            block.times[rows],
            None if block.reviews is None else block.reviews[rows],
        )

"""Which interactions stay, decided on columns of numbers."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recbole_darec.sources.raw.in_time import InTime, order_of, ranks_of
from recbole_darec.sources.raw.kcore import k_core

__all__ = ["Scan", "Selection", "select"]

_PIECE = 1 << 20


@dataclass
class Scan:
    """What the first pass keeps.

    Attributes:
        per_line: how many interactions each line has, shape ``(lines,)``.
        users, items: hashes of the ids, shape ``(n,)``.
        times: seconds, shape ``(n,)``; empty where the source has none.
        enough: 1 where the rating is high enough, shape ``(n,)``.
    """

    per_line: array[int]
    users: array[int]
    items: array[int]
    times: array[float]
    enough: bytearray

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        columns = (self.per_line, self.users, self.items, self.times)
        return sum(len(column) * column.itemsize for column in columns) + len(self.enough)


class Selection(NamedTuple):
    """Which interactions stay.

    Attributes:
        keep: 1 where it stays, a byte for each interaction of the scan.
        users, items: numbers from 0 in order of first appearance, int32, shape ``(kept,)``.
        n_users, n_items: how many there are.
        duplicates, below, outside, older: how many went at each step.
        rounds: of the k-core.
        ranks: of a selection by time, each one's place in its user's order, from 1 on.
        tied: of a selection by time, neighbours of one user and one time.
        repeats: of a selection by time, neighbours that are one item twice.
    """

    keep: bytes
    users: np.ndarray
    items: np.ndarray
    n_users: int
    n_items: int
    duplicates: int
    below: int
    outside: int
    rounds: int
    older: int = 0
    ranks: np.ndarray | None = None
    tied: int = 0
    repeats: int = 0


def select(
    read: Scan, k: int, item_k: int | None = None, in_time: InTime | None = None
) -> Selection:
    """Keep the latest of repeated pairs, then the ratings that are high enough, then the k-core.

    Of two reviews of one pair at the same time the later in the file is the latest.  Only then the
    rating counts: who took a good rating back does not recommend.  A selection by time keeps the
    latest of each user last of all.  ``read`` is emptied.

    Args:
        read: the columns of the first pass.
        k: of the k-core.
        item_k: of the items, where that is another number.
        in_time: put what stays in order of time.
    """
    total = len(read.users)
    users = _codes(read.users)
    read.users = array("q")
    items = _codes(read.items)
    read.items = array("q")
    times = np.frombuffer(read.times, dtype=np.float64)
    if in_time is not None and in_time.keep_repeats:
        latest = np.ones(total, dtype=bool)
    else:
        latest = _latest(users, items, times)
    if in_time is None:
        del times
    read.times = array("d")
    duplicates = total - int(latest.sum())
    latest &= np.frombuffer(read.enough, dtype=np.uint8) != 0
    read.enough = bytearray()
    rows = np.flatnonzero(latest)
    del latest
    users, items = users[rows], items[rows]
    below = total - duplicates - len(rows)
    core = k_core(users, items, k, item_k)
    outside = len(rows) - len(core.rows)
    rows, users, items = rows[core.rows], users[core.rows], items[core.rows]
    older, tied, repeats, ranks = 0, 0, 0, None
    if in_time is not None:
        order = order_of(users, times[rows], in_time.seed)
        ranks, stay = ranks_of(users, order, in_time.latest)
        older = int((~stay).sum())
        order = order[stay[order]]  # each user's latest, in order
        of_user, of_item, when = users[order], items[order], times[rows][order]
        same = of_user[1:] == of_user[:-1]
        tied = int((same & (when[1:] == when[:-1])).sum())
        repeats = int((same & (of_item[1:] == of_item[:-1])).sum())
        rows, users, items, ranks = rows[stay], users[stay], items[stay], ranks[stay]
    users, n_users = _by_appearance(users)
    items, n_items = _by_appearance(items)
    keep = np.zeros(total, dtype=np.uint8)
    keep[rows] = 1
    return Selection(
        keep.tobytes(), users, items, n_users, n_items, duplicates, below, outside, core.rounds,
        older, ranks, tied, repeats,
    )  # fmt: skip


def _codes(hashes: array[int]) -> np.ndarray:
    """Number the different hashes from 0; int32 of shape ``(n,)``."""
    values = np.frombuffer(hashes, dtype=np.int64)
    codes = np.empty(len(values), dtype=np.int32)
    order = np.argsort(values)
    last, code = None, -1
    for start in range(0, len(values), _PIECE):  # so that no second sorted copy is made
        places = order[start : start + _PIECE]
        ordered = values[places]
        new = np.empty(len(ordered), dtype=bool)
        new[0] = last is None or ordered[0] != last
        np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
        numbered = code + np.cumsum(new)
        codes[places] = numbered
        last, code = ordered[-1], int(numbered[-1])
    return codes


def _latest(users: np.ndarray, items: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mark the latest interaction of each pair; bool of shape ``(n,)``."""
    marked = np.zeros(len(users), dtype=bool)
    if not len(users):
        return marked
    pairs = users.astype(np.int64)
    pairs *= int(items.max()) + 1
    pairs += items
    # Both sorts are stable, so that the place in the file decides between equal times.
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    last = np.ones(len(pairs), dtype=bool)
    np.not_equal(pairs[1:], pairs[:-1], out=last[:-1])
    if len(times):  # of which those of the few pairs that come again matter
        again = ~last
        again[1:] |= again[:-1]
        places = np.flatnonzero(again)
        rows = order[places]
        order[places] = rows[np.lexsort((times[rows], pairs[places]))]
    marked[order[last]] = True
    return marked


def _by_appearance(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the different codes from 0 in order of first appearance; int32, and how many.

    The numbers then depend on the data alone, and not on this process's hashes.
    """
    if not len(codes):
        return codes, 0
    first = np.full(int(codes.max()) + 1, len(codes), dtype=np.int64)
    # Written from the back, so that the first place of each code is what stays.
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    known = np.flatnonzero(first < len(codes))
    known = known[np.argsort(first[known])]
    number = np.empty(len(first), dtype=np.int32)
    number[known] = np.arange(len(known), dtype=np.int32)
    return number[codes], len(known)

"""Interactions in order of time: who held out what, and windows over one array of items.

Nothing is copied a row at a time: a window is where it begins and how long it is, so that all the
prefixes of ten million interactions cost two integers each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_darec.errors import DataError

__all__ = ["PLACES", "Sequences", "Windows", "leave_one_out", "sequence_fields", "time_order"]

PLACES = "sequence_places"
"""The field of a training batch that says which places of its sequences ``[b, L]`` have a target,
as ``row * L + place``, int64 ``[m]``; without it each row has one, behind its last place."""


_LEAST = 3  # purchases of a user who has one in each part


def sequence_fields(config: Mapping[str, Any], item_field: str) -> tuple[str, str]:
    """Return the fields of a batch that a sequential model reads: a user's items, and how many.

    Args:
        config: RecBole's configuration.
        item_field: of the items' ids.
    """
    return item_field + config["LIST_SUFFIX"], config["ITEM_LIST_LENGTH_FIELD"]


def time_order(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the order by user, then by time, int64 ``[n]``; ties stay in the order given.

    Args:
        users: the user of each interaction, ``[n]``.
        times: when, ``[n]``, in float64: in float32 seconds since 1970 are steps of 64 and more.
    """
    return np.lexsort((times, users))


def leave_one_out(users: np.ndarray) -> tuple[np.ndarray, int]:
    """Hold out each user's last interaction for the test, and the one before for validation.

    Args:
        users: the user of each interaction, ``[n]``, each user's together and in order of time.

    Returns:
        The part of each interaction (0 training, 1 validation, 2 test), uint8 ``[n]``, and how many
        users have fewer than three: all of theirs are training.

    Raises:
        DataError: no user has three.
    """
    starts = _starts(users)
    counts = np.diff(np.append(starts, len(users)))
    enough = counts >= _LEAST
    if not enough.any():
        raise DataError(
            "no user has three interactions, of which leave-one-out tests the last and validates "
            "the one before: take more data"
        )
    ends = (starts + counts)[enough]
    labels = np.zeros(len(users), dtype=np.uint8)
    labels[ends - 2] = 1
    labels[ends - 1] = 2
    return labels, int((~enough).sum())


def _starts(users: np.ndarray) -> np.ndarray:
    new = np.ones(len(users), dtype=bool)
    np.not_equal(users[1:], users[:-1], out=new[1:])
    return np.flatnonzero(new)


@dataclass(frozen=True)
class Windows:
    """Stretches of one array of items.

    Attributes:
        begin: where each begins, ``[n]``.
        count: how many items each has, at least 1, ``[n]``.
    """

    begin: np.ndarray
    count: np.ndarray

    def __len__(self) -> int:
        return len(self.begin)


class Sequences:
    """Each user's items in order: one array, user by user.

    Args:
        users: user ids, ``[n]``, ascending.
        items: item ids, ``[n]``, each user's in order of time.
        n_users: number of user ids, the padding's 0 counted.

    Attributes:
        items: int32 ``[n]``.
        starts: where each user's items begin, with ``n`` behind them, int64 ``[n_users + 1]``.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_users: int) -> None:
        self.items = items.astype(np.int32)
        self.starts = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=self.starts[1:])

    @property
    def lengths(self) -> np.ndarray:
        """Return how many items each user has, ``[n_users]``."""
        return np.diff(self.starts)

    def users(self) -> np.ndarray:
        """Return the user of each item, int32 ``[n]``."""
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), self.lengths)

    def prefixes(self, longest: int) -> Windows:
        """Return what stands before each item but a user's first: its target is the one behind.

        Args:
            longest: items of a window, the latest ones.
        """
        first = np.zeros(len(self.items), dtype=bool)
        first[self.starts[:-1][self.lengths > 0]] = True
        targets = np.flatnonzero(~first).astype(np.int32)
        # How far each target is from its user's start.
        count = targets - np.repeat(self.starts[:-1], np.maximum(self.lengths - 1, 0)).astype(
            np.int32
        )
        np.minimum(count, longest, out=count)
        targets -= count
        return Windows(targets, count)

    def stretches(self, longest: int) -> Windows:
        """Return windows in which each item but a user's first is a target once.

        The target of a place is the item behind it.  A user with more targets than fit into one
        window has several, the earliest of which is the short one.

        Args:
            longest: items of a window.
        """
        targets = np.maximum(self.lengths - 1, 0)
        pieces = -(-targets // longest)
        # Each piece counted from its user's last one.
        back = _countdown(pieces)
        ends = np.repeat(self.starts[1:] - 1, pieces) - back * longest
        begin = np.maximum(ends - longest, np.repeat(self.starts[:-1], pieces))
        return Windows(begin.astype(np.int32), (ends - begin).astype(np.int32))


def _countdown(counts: np.ndarray) -> np.ndarray:
    """Return ``c - 1, …, 1, 0`` for each count ``c``, one behind the other."""
    ends = np.cumsum(counts)
    return np.repeat(ends, counts) - np.arange(counts.sum()) - 1

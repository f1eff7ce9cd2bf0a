"""The k-core of a bipartite graph, on arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recbole_darec.errors import DataError

__all__ = ["Core", "k_core"]


class Core(NamedTuple):
    """What is left, and after how many rounds.

    Attributes:
        rows: numbers of the rows that stay, rising.
        rounds: how often something was taken out.
    """

    rows: np.ndarray
    rounds: int


def k_core(users: np.ndarray, items: np.ndarray, k: int, item_k: int | None = None) -> Core:
    """Find the largest part in which each user and each item has at least ``k`` interactions.

    Users and items with fewer are taken out, which takes interactions from others, and so on until
    nothing changes.  The result does not depend on the order of the steps.

    Args:
        users, items: the two ends of each interaction, integers from 0 on, shape ``(n,)``.
        k: the least number of interactions; with 0 or 1 all rows stay.
        item_k: of an item, where that is another number than a user's.

    Raises:
        DataError: a number is negative.
    """
    of_items = k if item_k is None else item_k
    for least in (k, of_items):
        if least < 0:
            raise DataError(f"a k-core needs a whole number from 0 (off) on, not {least}")
    rows = np.arange(len(users))
    rounds = 0
    while max(k, of_items) > 1 and len(rows):
        stay = np.bincount(users)[users] >= k
        stay &= np.bincount(items)[items] >= of_items
        if stay.all():
            break
        rounds += 1
        rows, users, items = rows[stay], users[stay], items[stay]
    return Core(rows, rounds)

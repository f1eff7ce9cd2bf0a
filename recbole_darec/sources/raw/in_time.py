"""Raw interactions in order of time, decided on the raw seconds in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recbole_darec.data.sequences import time_order

__all__ = ["InTime", "order_of", "ranks_of"]


class InTime(NamedTuple):
    """How interactions are put in order of time.

    Attributes:
        latest: how many of a user's stay; 0 takes all.
        keep_repeats: whether a pair may come again.
        seed: of the order of ties; None leaves them as they are in the file.
    """

    latest: int = 0
    keep_repeats: bool = False
    seed: int | None = None


def order_of(users: np.ndarray, times: np.ndarray, seed: int | None) -> np.ndarray:
    """Return the order by user and time; ties as in the file, or as a seed draws them."""
    if seed is None:
        return time_order(users, times)
    drawn = np.random.RandomState(seed).random_sample(len(users))
    return np.lexsort((drawn, times, users))


def ranks_of(users: np.ndarray, order: np.ndarray, latest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each one's rank among its user's that stay, from 1 on, and which stay."""
    counts = np.bincount(users)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    ranks = np.empty(len(users), dtype=np.int64)
    ranks[order] = np.arange(1, len(users) + 1)
    ranks -= starts[users]
    if latest:
        ranks -= np.maximum(counts - latest, 0)[users]
    return ranks, ranks > 0

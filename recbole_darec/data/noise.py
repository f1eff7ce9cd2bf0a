"""Interactions that never happened, drawn at random, for robustness to noise."""

from __future__ import annotations

import numpy as np

from recbole_darec.data.distinct import sorted_distinct
from recbole_darec.errors import OptionError

__all__ = ["random_pairs"]


def random_pairs(
    users: np.ndarray, items: np.ndarray, n_users: int, n_items: int, wanted: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct pairs that are not among the given ones, each free pair with the same chance.

    Args:
        users, items: the pairs that are taken, ids from 1, int ``[n]``.
        n_users, n_items: ids are below these.
        wanted: how many are drawn.
        seed: of the draw.

    Returns:
        users and items, int64 ``[wanted]`` each, in the order drawn.

    Raises:
        OptionError: fewer pairs are free.
    """
    width = n_items - 1
    # The r-th free pair is r + k, where k of the taken ones come before it.
    taken = sorted_distinct((users.astype(np.int64) - 1) * width + items.astype(np.int64) - 1)
    free = (n_users - 1) * width - len(taken)
    if wanted > free:
        raise OptionError(
            f"train_noise asks for {wanted:,} random interactions, and only {free:,} pairs of a "
            "user and an item have none: give a smaller share"
        )
    drawn = np.random.default_rng(seed).choice(free, size=wanted, replace=False)
    pairs = drawn + np.searchsorted(taken - np.arange(len(taken)), drawn, side="right")
    return pairs // width + 1, pairs % width + 1

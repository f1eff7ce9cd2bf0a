"""Where in a user's sequence an item was last taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["last_places"]


def last_places(users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> Any:
    """Return the place of each user's last taking of each item, from 1 on.

    Args:
        users: the user of each interaction, from 0 on, ``[n]``, ascending.
        items: the item of each, from 0 on, ``[n]``, a user's in order of time.
        shape: numbers of users and of items.

    Returns:
        scipy CSR float32 ``[n_users, n_items]``, of the items that a user took.
    """
    starts = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(users, minlength=shape[0]), out=starts[1:])
    keys = users.astype(np.int64) * shape[1] + items
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    last = order[np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(keys)), dtype=bool))]
    places = (last - starts[users[last]] + 1).astype(np.float32)
    return sp.csr_matrix((places, (users[last], items[last])), shape=shape)

"""New users who have a few interactions and no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.data.sequences import sequence_fields
from recbole_darec.errors import DataError, some
from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.serving.tokens import Ids

__all__ = ["asked_with", "by_user", "folded_vectors", "pairs_of", "rows_taken"]


def folded_vectors(
    items: Tensor, sequences: Sequence[np.ndarray], degrees: np.ndarray | None
) -> Tensor:
    """Return a vector for each new user out of the vectors of the items that they took.

    It is the mean of these; for a backbone that propagates over the graph each item is weighed by
    ``1 / sqrt(degree)``, as LightGCN's propagation weighs a user's neighbours (He et al., 2020,
    equation 3).  A user's own factor changes no ranking.

    Args:
        items: float ``[n_items, d]``, padding row first.
        sequences: row numbers of each user's items.
        degrees: training interactions of each item, ``[n_items]``; None for a plain mean.

    Returns:
        float ``[1 + n_users, d]``, a padding row first.
    """
    rows = [items.new_zeros(items.shape[1])]
    for taken in sequences:
        weights = np.ones(len(taken))
        if degrees is not None:
            weights = 1.0 / np.sqrt(np.maximum(degrees[taken], 1))
        share = torch.from_numpy(weights / weights.sum()).to(items)
        rows.append(share @ items[torch.from_numpy(taken).to(items.device)])
    return torch.stack(rows)


def rows_taken(
    given: Mapping[str, Sequence[str]], asked: Sequence[str], users: Ids, items: Ids
) -> dict[str, np.ndarray]:
    """Return the item rows of the users asked for that are folded in.

    Args:
        given: items of each new user.
        asked: ids of users, new ones among them.
        users, items: ids of the model.

    Raises:
        DataError: a user is in the model's data already, or an item is not.
    """
    there = [user for user, row in zip(given, users.rows(list(given))) if row >= 0]
    if there:
        raise DataError(
            f"{len(there):,} users of the interactions are in the model's data already: "
            f"{some(there)}; only new ones are folded in"
        )
    return {
        user: items.known_rows(given[user], "the interactions")
        for user in map(str, asked)
        if user in given
    }


def asked_with(
    config: Any, dataset: Any, sequences: Sequence[np.ndarray]
) -> Callable[[np.ndarray], Interaction]:
    """Return what gives a sequential model each new user's last items, zeros behind them.

    Args:
        config: RecBole's configuration, which says how many items a sequence has at most.
        dataset: whose fields have the names.
        sequences: row numbers of each user's items, in order of time.
    """
    longest = int(config["MAX_ITEM_LIST_LENGTH"])
    lists = np.zeros((1 + len(sequences), longest), dtype=np.int64)
    counts = np.zeros(1 + len(sequences), dtype=np.int64)
    for row, taken in enumerate(sequences, 1):
        last = taken[-longest:]
        lists[row, : len(last)], counts[row] = last, len(last)

    sequence, length = sequence_fields(config, dataset.iid_field)

    def ask(users: np.ndarray) -> Interaction:
        return Interaction(
            {
                dataset.uid_field: torch.zeros(len(users), dtype=torch.int64),
                sequence: torch.from_numpy(lists[users]),
                length: torch.from_numpy(counts[users]),
            }
        )

    return ask


def pairs_of(sequences: Sequence[np.ndarray], n_items: int) -> UserItems:
    """Return the items of each new user, who are numbered from 1."""
    users = np.repeat(np.arange(1, len(sequences) + 1), [len(taken) for taken in sequences])
    return UserItems(users, np.concatenate(list(sequences)), len(sequences) + 1, n_items)


def by_user(users: Sequence[str], items: Sequence[str]) -> Mapping[str, list[str]]:
    """Return each user's items, in their order, users in order of appearance."""
    found: dict[str, list[str]] = {}
    for user, item in zip(users, items):
        found.setdefault(user, []).append(item)
    return found

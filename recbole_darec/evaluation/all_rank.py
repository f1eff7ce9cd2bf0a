"""All-rank evaluation: every item is a candidate, a batch is a number of users."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction

from recbole_darec.data.distinct import contained, sorted_distinct
from recbole_darec.evaluation.shared import RankLoader

__all__ = ["AllRankLoader", "UserItems"]


class UserItems:
    """The items of each user, as one sorted array of pairs.

    Args:
        users: int64 ``[n_pairs]``.
        items: int64 ``[n_pairs]``.
        n_users: number of user ids, padding included.
        n_items: number of item ids, padding included.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> None:
        self._set(sorted_distinct(users.astype(np.int64) * n_items + items), n_users, n_items)

    def _set(self, keys: np.ndarray, n_users: int, n_items: int) -> None:
        self.n_items, self.keys = n_items, keys
        self.items = self.keys % n_items
        self.starts = np.searchsorted(self.keys, np.arange(n_users + 1, dtype=np.int64) * n_items)

    def without(self, other: UserItems) -> UserItems:
        """Return the pairs that ``other`` does not have."""
        kept = np.ones(len(self.keys), bool)
        both = other.keys[contained(other.keys, self.keys)]
        kept[np.searchsorted(self.keys, both)] = False
        found = UserItems.__new__(UserItems)
        found._set(self.keys[kept], len(self.starts) - 1, self.n_items)
        return found

    def users(self) -> np.ndarray:
        """Return the users that have an item, ascending."""
        return np.flatnonzero(np.diff(self.starts))

    def by_user(self) -> np.ndarray:
        """Return each user's items: an array of one int64 tensor a user id."""
        found = np.empty(len(self.starts) - 1, dtype=object)
        items = torch.from_numpy(self.items)
        for user, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:])):
            found[user] = items[start:end]
        return found

    def of(self, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(row, item)`` for the items of ``users``; rows count within ``users``."""
        begin, end = self.starts[users], self.starts[users + 1]
        counts = end - begin
        rows = np.repeat(np.arange(len(users)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return (
            torch.from_numpy(rows),
            torch.from_numpy(self.items[np.repeat(begin, counts) + offsets]),
        )


class AllRankLoader(RankLoader):
    """RecBole's full-sort loader with its batch counted in users and its masks vectorised.

    RecBole's ``eval_batch_size`` counts user-item pairs: at its default one user is ranked at a
    time on a data set of 9,000 items.

    Args:
        config: RecBole's configuration.
        dataset: the part to evaluate.
        masked: the parts whose items are left out of a user's ranking (the items to be found stay
            in, as in RecBole).
        batch_users: users in a batch.
    """

    is_sequential = False  # asked by RecBole's case studies

    def __init__(self, config: Any, dataset: Any, masked: Sequence[Any], batch_users: int) -> None:
        self.logger = getLogger()
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        self.batch_users = batch_users
        self.positive = _user_items([dataset], dataset)
        self.history = _user_items(masked, dataset).without(self.positive)
        self.evaluated_users = self.positive.users()
        self.uid_list = torch.from_numpy(self.evaluated_users)
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.uid_list)
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)

    @cached_property
    def uid2history_item(self) -> np.ndarray:
        """Each user's masked items, as RecBole's ``full_sort_scores`` asks for them."""
        return self.history.by_user()

    @cached_property
    def uid2positive_item(self) -> np.ndarray:
        """Each user's items to be found, under RecBole's name."""
        return self.positive.by_user()

    def _init_batch_size_and_step(self) -> None:
        self.step = self.batch_users
        self.set_batch_size(self.batch_users * self._dataset.item_num)

    def collate_fn(self, index: Any) -> Any:
        """Return ``(users, masked (row, item), positive rows, positive items)`` of a batch."""
        index = np.asarray(index)
        users = self.evaluated_users[index]
        return (self.user_df[index], self.history.of(users), *self.positive.of(users))


def _user_items(parts: Sequence[Any], dataset: Any) -> UserItems:
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return UserItems(none, none, dataset.user_num, dataset.item_num)
    columns = [
        (p.inter_feat[dataset.uid_field].numpy(), p.inter_feat[dataset.iid_field].numpy())
        for p in parts
    ]
    return UserItems(
        np.concatenate([u for u, _ in columns]),
        np.concatenate([i for _, i in columns]),
        dataset.user_num,
        dataset.item_num,
    )

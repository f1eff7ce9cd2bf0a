"""All-rank evaluation of a sequential model: a user's earlier items in, the held-out one to find.

RecBole counts rows in ``eval_batch_size``, masks nothing, and holds a padded copy of each sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction

from recbole_darec.data.sequences import sequence_fields
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.evaluation.shared import RankLoader

__all__ = ["LastItems", "SequentialRankLoader"]


class LastItems:
    """What a sequential model is asked with: each user's last items, zeros behind them.

    Args:
        config: RecBole's configuration, which says how many items a sequence has at most.
        parts: the parts that are the users' history; the earlier part first.

    Attributes:
        users: the user of each interaction, in ascending order.
        items: the item of each; a user's are in order of time.
    """

    def __init__(self, config: Any, parts: Sequence[Any]) -> None:
        self._uid_field, iid_field = parts[0].uid_field, parts[0].iid_field
        users, items = (
            np.concatenate([part.inter_feat[field].numpy() for part in parts])
            for field in (self._uid_field, iid_field)
        )
        order = np.argsort(users, kind="stable")
        self.users, self.items = users[order], items[order]
        self._longest = int(config["MAX_ITEM_LIST_LENGTH"])
        self._sequence, self._length = sequence_fields(config, iid_field)

    def of(self, users: np.ndarray) -> Interaction:
        """Return the last items of users, given as row numbers, int64 ``[n]``."""
        ends = np.searchsorted(self.users, users, side="right")
        begin = np.maximum(np.searchsorted(self.users, users), ends - self._longest)
        count = ends - begin
        places = np.minimum(begin[:, None] + np.arange(self._longest), len(self.items) - 1)
        inside = np.arange(self._longest) < count[:, None]
        return Interaction(
            {
                self._uid_field: torch.from_numpy(users),
                self._sequence: torch.from_numpy(np.where(inside, self.items[places], 0)),
                self._length: torch.from_numpy(count),
            }
        )

    def lengths(self, asked: Interaction) -> np.ndarray:
        """Return how many items each sequence has, int64 ``[n]``."""
        lengths: np.ndarray = asked[self._length].numpy()
        return lengths

    def cut(self, asked: Interaction) -> Interaction:
        """Return the same no wider than its longest sequence, for a model that reads positions.

        What lies behind a sequence's end changes nothing there.
        """
        longest = max(1, int(self.lengths(asked).max()))
        return Interaction(
            {**asked.interaction, self._sequence: asked[self._sequence][:, :longest]}
        )


class SequentialRankLoader(RankLoader):
    """Ranks all items for each user of a part, a number of users at a time.

    Args:
        config: RecBole's configuration.
        dataset: the part to evaluate: one item a user.
        earlier: the parts before it, which are the user's history; the earlier part first.
        mask: ``none``, ``history`` (the history but for the target), or ``history_all``.
        batch_users: users in a batch.

    Raises:
        OptionError: with ``history_all`` so few items are left to a user that masked ones would
            fill the list up.
    """

    def __init__(
        self, config: Any, dataset: Any, earlier: Sequence[Any], mask: str, batch_users: int
    ) -> None:
        self.logger = getLogger()
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        self.batch_users = batch_users
        part = dataset.inter_feat
        users, targets = part[self.uid_field].numpy(), part[self.iid_field].numpy()
        self._history = LastItems(config, earlier)
        self.user_df = self._history.of(users)
        self.evaluated_users, self._targets = users, torch.from_numpy(targets)
        self._by_length = False
        self._masked = None
        if mask != "none":
            sizes = dataset.user_num, dataset.item_num
            self._masked = UserItems(self._history.users, self._history.items, *sizes)
            if mask == "history":
                self._masked = self._masked.without(UserItems(users, targets, *sizes))
            else:
                self._check_room(config, dataset.item_num)
        self.sample_size = len(users)
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)

    def group_by_length(self) -> None:
        """Rank users with sequences of like lengths together, in batches no wider than these.

        For a model that reads positions.  Of several processes, which rank consecutive batches,
        each has short ones and long ones.
        """
        order = np.argsort(self._history.lengths(self.user_df), kind="stable")
        n_batches = len(order) // self.step
        whole = order[: n_batches * self.step].reshape(n_batches, self.step)
        order = np.concatenate([whole[_dealt(n_batches)].ravel(), order[whole.size :]])
        self.user_df, self._targets = self.user_df[order], self._targets[order]
        self.evaluated_users = self.evaluated_users[order]
        self._by_length = True

    def _check_room(self, config: Any, n_items: int) -> None:
        assert self._masked is not None
        starts = self._masked.starts
        most = int((starts[self.evaluated_users + 1] - starts[self.evaluated_users]).max())
        left, longest = n_items - 1 - most, max(config["topk"])
        if longest > left:
            raise OptionError(
                f"topk={config['topk']}: of {n_items - 1:,} items a user's history masks {most:,}, "
                f"and {left:,} are left to rank; lower topk, or set eval_mask=none"
            )

    def _init_batch_size_and_step(self) -> None:
        self.step = self.batch_users
        self.set_batch_size(self.batch_users)

    def collate_fn(self, index: Any) -> Any:
        """Return ``(sequences, masked (row, item) or None, positive rows, positive items)``."""
        index = np.asarray(index)
        masked = None if self._masked is None else self._masked.of(self.evaluated_users[index])
        asked = self.user_df[index]
        if self._by_length:
            asked = self._history.cut(asked)
        return asked, masked, torch.arange(len(index)), self._targets[index]


def _dealt(n: int) -> np.ndarray:
    """Return numbers below n in an order of which each stretch has small and large ones alike.

    It is that of their binary digits read from behind (van der Corput's sequence).
    """
    return np.argsort([int(f"{number:064b}"[::-1], 2) for number in range(n)], kind="stable")

"""Training batches of a sequential model: windows over one array of items, negatives at once.

RecBole's loader, which this one stands in for, holds a copy of the sequence for each of its
prefixes and draws negatives that the user may have bought.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.data.distinct import sorted_distinct
from recbole_darec.data.sequences import PLACES, Sequences, sequence_fields
from recbole_darec.errors import DataError

__all__ = ["Negatives", "SequenceLoader", "grouped_by_length", "sequences_of", "windows"]

_SORTED_BATCHES = 50  # whose rows are sorted by length together


def sequences_of(*parts: Any) -> Sequences:
    """Return each user's items in order of time.

    Args:
        parts: parts of one data set, each ordered by user and time; the earlier part first.
    """
    dataset = parts[0]
    users = np.concatenate([part.inter_feat[dataset.uid_field].numpy() for part in parts])
    items = np.concatenate([part.inter_feat[dataset.iid_field].numpy() for part in parts])
    if parts[1:]:
        order = np.argsort(users, kind="stable")
        users, items = users[order], items[order]
    return Sequences(users, items, dataset.user_num)


def windows(items: Tensor, begin: Tensor, count: Tensor, width: int) -> Tensor:
    """Return windows over ``items`` as rows, int64 ``[b, width]``, zeros behind their ends.

    Args:
        items: one array, ``[n]``.
        begin: where each begins, int64 ``[b]``.
        count: how many items it has, int64 ``[b]``, at most ``width``.
        width: of the rows.
    """
    places = torch.arange(width, device=items.device)
    inside = places < count[:, None]
    rows = (begin[:, None] + places).clamp_(max=len(items) - 1)
    return torch.where(inside, items[rows].long(), 0)


def grouped_by_length(
    order: Tensor, lengths: Tensor, step: int, generator: torch.Generator
) -> list[Tensor]:
    """Cut rows in a random order into batches of like lengths, in a random order.

    Rows are sorted within a quarter of them at a time, 50 batches' worth at the most, so that a
    batch is another each epoch.  All batches have about as many targets, and so fewer rows where
    these are long: a target counts as much as it does in batches of any rows.

    Args:
        order: the rows, a random permutation, int64 ``[n]``.
        lengths: of each row, at least 1, ``[n]``.
        step: rows of a batch in the mean.
        generator: draws the order of the batches.

    Returns:
        the rows of each of ``ceil(n / step)`` batches; fewer where a row alone fills one.
    """
    at_once = step * max(1, min(len(order) // (4 * step), _SORTED_BATCHES))
    ranked = [  # down and up in turns, so that a batch across a border has like lengths, too
        some[torch.argsort(lengths[some], descending=n % 2 == 0, stable=True)]
        for n, some in enumerate(torch.split(order, at_once))
    ]
    rows = torch.cat(ranked)
    sizes = lengths[rows].long()
    before = sizes.cumsum(0) - sizes
    n_batches = -(-len(rows) // step)
    counts = torch.bincount(before * n_batches // int(sizes.sum()))
    batches = torch.split(rows, counts[counts > 0].tolist())
    return [batches[n] for n in torch.randperm(len(batches), generator=generator).tolist()]


class Negatives:
    """Draws items that a user has not taken, uniformly, for all users of a batch at once.

    The r-th item of those that a user lacks is ``r + 1 + k``, where k of the user's items come
    before it; one search in one sorted array finds every k, and nothing is drawn twice.

    Args:
        sequences: the users' training items.
        n_items: number of item ids, the padding counted.

    Raises:
        DataError: a user has taken every item.
    """

    def __init__(self, sequences: Sequences, n_items: int) -> None:
        n_users = len(sequences.starts) - 1
        keys = sorted_distinct(sequences.users().astype(np.int64) * n_items + sequences.items)
        users = keys // n_items
        starts = np.searchsorted(users, np.arange(n_users + 1))
        taken = np.diff(starts)
        if taken.max(initial=0) >= n_items - 1:
            raise DataError(
                f"a user has all the {n_items - 1:,} items in training, so that there is none to "
                "rank lower: take more items, or rank_loss=ce, which draws no negatives"
            )
        # How many lacking items stand before each taken one, behind those of all users before.
        before = keys % n_items - 1 - (np.arange(len(keys)) - starts[users])
        self._keys = torch.from_numpy(users * n_items + before)
        self._starts = torch.from_numpy(starts[:-1])
        self._lacking = torch.from_numpy(n_items - 1 - taken)
        self._n_items = n_items

    def draw(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Return one item for each of ``users``, int64 ``[n]``."""
        lacking = self._lacking[users]
        share = torch.rand(len(users), dtype=torch.float64, generator=generator)
        # The product may round up to the number itself.
        rank = torch.minimum((share * lacking).long(), lacking - 1)
        found = torch.searchsorted(self._keys, users * self._n_items + rank, right=True)
        return rank + 1 + found - self._starts[users]


class SequenceLoader:
    """Batches of windows over the training sequences, in a new order each epoch.

    A batch has users ``[b]``, sequences ``[b, L]`` with zeros behind their ends, their lengths
    ``[b]``, targets ``[m]`` and, where negatives are drawn, one a target.  With ``positions`` a row
    has a target for each of its places, named by :data:`~recbole_darec.data.sequences.PLACES`, and
    L is the longest of the batch, with ``group_by_length`` of rows of like lengths; otherwise there
    is a target a row, and L is the model's.

    Args:
        config: RecBole's configuration.
        dataset: the training part, ordered by user and time.
        positions: whether each place of a row has a target.

    Attributes:
        generator: draws the order and the negatives, and nothing else; its state is a snapshot's.
        step: rows of a batch, with ``group_by_length`` in the mean.

    Raises:
        DataError: no user has two training items, or one has all of them and negatives are drawn.
    """

    def __init__(self, config: Any, dataset: Any, *, positions: bool) -> None:
        self._dataset = self.dataset = dataset
        self.generator = torch.Generator()
        self.generator.manual_seed(config["seed"])
        self.step = int(config["train_batch_size"])
        self._shuffled = bool(config["shuffle"])
        self._positions = positions
        self._grouped = bool(config["group_by_length"])
        self._longest = int(config["MAX_ITEM_LIST_LENGTH"])
        self._uid, self._iid = dataset.uid_field, dataset.iid_field
        self._sequence, self._length = sequence_fields(config, dataset.iid_field)
        self._negative = config["NEG_PREFIX"] + self._iid
        found = sequences_of(dataset)
        rows = found.stretches(self._longest) if positions else found.prefixes(self._longest)
        if not len(rows):
            raise DataError(
                f"no user of '{config['dataset']}' has two training items, so that there is no "
                "target with a history: leave-one-out trains on users with four interactions"
            )
        self._items = torch.from_numpy(found.items)
        self._users = torch.from_numpy(found.users())
        self._begin, self._count = torch.from_numpy(rows.begin), torch.from_numpy(rows.count)
        drawn = config["loss_type"] != "CE"
        self._negatives = Negatives(found, dataset.item_num) if drawn else None

    def __len__(self) -> int:
        return -(-len(self._begin) // self.step)

    def __iter__(self) -> Iterator[Any]:
        n_rows = len(self._begin)
        if self._shuffled:
            order = torch.randperm(n_rows, generator=self.generator)
        else:
            order = torch.arange(n_rows)
        if self._grouped:
            batches = grouped_by_length(order, self._count, self.step, self.generator)
        else:
            batches = list(torch.split(order, self.step))
        for rows in batches:
            yield self.batch(rows)

    def batch(self, rows: Tensor) -> Any:
        """Return the batch of these rows, int64 ``[b]``, with negatives drawn anew."""
        begin, count = self._begin[rows].long(), self._count[rows].long()
        users = self._users[begin].long()
        fields = {self._uid: users, self._length: count}
        if self._positions:
            width = int(count.max())
            places = (torch.arange(width) < count[:, None]).flatten().nonzero().flatten()
            row, place = places // width, places % width
            targets, of_target = begin[row] + place + 1, users[row]
            fields[PLACES] = places
        else:
            width, targets, of_target = self._longest, begin + count, users
        fields[self._sequence] = windows(self._items, begin, count, width)
        fields[self._iid] = self._items[targets].long()
        if self._negatives is not None:
            fields[self._negative] = self._negatives.draw(of_target, self.generator)
        return Interaction(fields)

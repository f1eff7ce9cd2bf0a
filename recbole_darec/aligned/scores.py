"""Scores of all items from those of pairs, and of pairs from those of all items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

__all__ = ["all_pairs", "pair_scores"]

_ELEMENTS = 1 << 24  # scores of one block
_PAIRS = 1 << 18


def pair_scores(
    full_sort: Callable[[Any], Tensor], interaction: Any, user_field: str, item_field: str
) -> Tensor:
    """Return the scores of pairs ``[batch]``, looked up among those of all items of each user.

    Args:
        full_sort: a model's ``full_sort_predict``.
        interaction: the pairs.
        user_field: name of the users' column.
        item_field: name of the items' column.
    """
    users, place = torch.unique(interaction[user_field], return_inverse=True)
    items = interaction[item_field]
    found: Tensor | None = None
    height, start = 1, 0
    while start < len(users):
        block = users[start : start + height]
        rows = full_sort(Interaction({user_field: block})).view(len(block), -1)
        if found is None:
            found = rows.new_empty(len(items))
        inside = (place >= start) & (place < start + len(block))
        found[inside] = rows[place[inside] - start, items[inside]]
        start += len(block)
        height = max(1, _ELEMENTS // rows.shape[1])  # the first row says how many items there are
    assert found is not None
    return found


def all_pairs(
    predict: Callable[[Any], Tensor], users: Any, item_field: str, n_items: int
) -> Tensor:
    """Return the scores of all items ``[b * n_items]`` by a model that scores pairs only.

    Args:
        predict: the model's ``predict``.
        users: an interaction of one row a user.
        item_field: name of the items' column.
        n_items: number of items, the padding counted.
    """
    pairs = users.repeat_interleave(n_items)
    items = torch.arange(n_items, device=next(iter(users.interaction.values())).device)
    pairs.update(Interaction({item_field: items.repeat(len(users))}))
    return torch.cat(
        [predict(pairs[n : n + _PAIRS]).reshape(-1) for n in range(0, len(pairs), _PAIRS)]
    )

"""The k best items of a batch of users, and which of them are to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_darec.numerics.topk import top_k

__all__ = ["BestItems", "best_items", "hits"]


@dataclass(frozen=True)
class BestItems:
    """What a ranking found, where the scores of all items are not kept.

    Attributes:
        values: scores ``[n_users, k]``, descending; minus infinity where an item is masked.
        items: their ids, int64 ``[n_users, k]``.
        n_items: number of item ids, padding included.
    """

    values: Tensor
    items: Tensor
    n_items: int


def best_items(scores: Tensor | BestItems, k: int) -> BestItems:
    """Return the k best of the scores ``[n_users, n_items]``, or those that were found before."""
    if isinstance(scores, BestItems):
        return scores
    return BestItems(*top_k(scores, k), scores.shape[1])


def hits(listed: Tensor, n_items: int, positive_u: Any, positive_i: Any) -> Tensor:
    """Return which of the listed items are to be found, and in the last column how many there are.

    Args:
        listed: ids of each user's k best items, ``[n_users, k]``.
        n_items: number of item ids, padding included.
        positive_u, positive_i: row and id of each item to be found.

    RecBole forms a dense matrix of all users and items and sums it.
    """
    device = listed.device
    keys = torch.as_tensor(positive_u, device=device) * n_items
    keys = torch.unique(keys + torch.as_tensor(positive_i, device=device))
    rows = torch.arange(len(listed), device=device)[:, None] * n_items
    counts = torch.bincount(keys // n_items, minlength=len(listed))
    return torch.cat([torch.isin(listed + rows, keys), counts[:, None]], 1).int()

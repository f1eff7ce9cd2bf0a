"""Items that are held out whole: the model's data never hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_darec.data.splits import held_out

__all__ = ["HeldOut", "hold_items_out"]


@dataclass(frozen=True)
class HeldOut:
    """The interactions of the items that were held out.

    Attributes:
        users: token of each interaction's user, ``[n]``.
        items: token of its item, ``[n]``.
    """

    users: np.ndarray
    items: np.ndarray


def hold_items_out(dataset: Any, share: float, seed: int) -> HeldOut:
    """Take items with all their interactions out of a RecBole data set that has no numbers yet.

    Before RecBole filters, numbers and splits: what is left is a data set like any other, and a
    held-out item is no negative, has no row, and is in no text method's sample.

    Args:
        dataset: its ``inter_feat`` and ``item_feat`` are replaced.
        share: of the items.
        seed: of which.
    """
    frame, field = dataset.inter_feat, dataset.iid_field
    out = held_out(frame[field].to_numpy(), share, seed)
    found = HeldOut(*(frame[f].to_numpy()[out].astype(str) for f in (dataset.uid_field, field)))
    dataset.inter_feat = frame[~out].reset_index(drop=True)
    if dataset.benchmark_filename_list is not None:
        parts = np.repeat(np.arange(len(dataset.file_size_list)), dataset.file_size_list)
        counts = np.bincount(parts[~out], minlength=len(dataset.file_size_list))
        dataset.file_size_list = counts.tolist()
    if dataset.item_feat is not None:
        known = ~dataset.item_feat[field].astype(str).isin(found.items)
        dataset.item_feat = dataset.item_feat[known].reset_index(drop=True)
    return found

"""Where a model is good: its test metrics by how often users and items were in training.

These are thirds of the users and of the items, each third as many *ids*, so that a figure shows as
many users in each of its groups.  They are not the buckets of ``result_buckets``
(:mod:`recbole_darec.evaluation.by_frequency`), which divide the items' training *interactions*: of
a long tail the cold third is a third of the items here, and most of them there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["GROUPS", "by_frequency", "trained_counts"]

GROUPS = ("cold", "median", "warm")
"""The thirds of the users and of the items, as many ids each, by their training interactions."""


def trained_counts(train_data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the training interactions of each user id and of each item id, int64."""
    dataset = train_data._dataset
    feats = dataset.inter_feat
    return tuple(  # type: ignore[return-value]
        np.bincount(np.asarray(feats[field]), minlength=dataset.num(field))
        for field in (dataset.uid_field, dataset.iid_field)
    )


def by_frequency(ranking: Any, of_users: np.ndarray, of_items: np.ndarray) -> dict[str, Any]:
    """Return metrics of the test part by training frequency.

    Users: the mean of each metric over the users of a third.  Items: the share of a third's items
    to be found that are among the k best (recall over pairs), with k the longest list.  Thirds are
    of all users that are tested, and of all items in training or to be found.

    Args:
        ranking: what the evaluation found, a :class:`KeptRanking`.
        of_users, of_items: training interactions by id.

    Returns:
        ``users`` and ``items``: by group the metrics, ``n`` (users, or items to be found) and
        ``most``, the most training interactions in the group.
    """
    found: dict[str, Any] = {"users": {}, "items": {}}
    # Those of buckets of items are told apart already, and not of each user.
    of_all = {name: values for name, values in ranking.metrics.items() if " " not in name}
    counts = of_users[ranking.users]
    for group, chosen, most in _thirds(counts):
        metrics = {name: float(values[chosen].mean()) for name, values in of_all.items()}
        found["users"][group] = {"n": int(chosen.sum()), "most": most, **metrics}
    k = ranking.items.shape[1]
    n_items = len(of_items)
    listed = np.repeat(np.arange(len(ranking.items)), k) * n_items + ranking.items.ravel()
    hit = np.isin(ranking.wanted_rows * n_items + ranking.wanted_items, listed)
    there = np.union1d(np.flatnonzero(of_items), ranking.wanted_items)
    for group, chosen, most in _thirds(of_items[there]):
        of_group = np.isin(ranking.wanted_items, there[chosen])
        n_wanted = int(of_group.sum())
        recall = float(hit[of_group].mean()) if n_wanted else None
        found["items"][group] = {"n": n_wanted, "most": most, f"recall@{k}": recall}
    return found


def _thirds(counts: np.ndarray) -> list[tuple[str, np.ndarray, int]]:
    """Return each group with its members and the most interactions in it; ties stay together."""
    bounds = np.quantile(counts, [1 / 3, 2 / 3], method="lower") if len(counts) else [0, 0]
    number = np.searchsorted(bounds, counts, side="left")
    groups = []
    for n, group in enumerate(GROUPS):
        chosen = number == n
        if chosen.any():
            groups.append((group, chosen, int(counts[chosen].max())))
    return groups

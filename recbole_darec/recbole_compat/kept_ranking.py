"""What an evaluation found for each of its rows, which RecBole takes the mean of and forgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recbole_darec.recbole_compat.metrics import MetricCollector, MetricEvaluator

__all__ = ["KeptRanking", "kept_ranking"]


@dataclass(frozen=True)
class KeptRanking:
    """What an evaluation found for each of its rows: users, or a sequence's targets.

    Attributes:
        users: user id of each row, int64 ``[n]``.
        items: the best items, int64 ``[n, k]``; 0 where there is none.
        wanted_rows, wanted_items: row and id of each item that was to be found, int64 ``[p]``.
        metrics: each metric by name, float32 ``[n]``.
    """

    users: np.ndarray
    items: np.ndarray
    wanted_rows: np.ndarray
    wanted_items: np.ndarray
    metrics: dict[str, np.ndarray]


def kept_ranking(collector: MetricCollector, evaluator: MetricEvaluator) -> KeptRanking:
    """Return what the last evaluation found, of a collector and an evaluator that keep it."""
    assert collector.kept is not None
    users, items, rows, wanted = [], [], [], []
    start = 0
    for batch_users, batch_items, batch_rows, batch_wanted in collector.kept:
        users.append(batch_users)
        items.append(batch_items)
        rows.append(batch_rows + start)
        wanted.append(batch_wanted)
        start += len(batch_users)
    columns = (torch.cat(parts).numpy() for parts in (users, items, rows, wanted))
    of_rows, ranked, wanted_rows, wanted_items = (c.astype(np.int64) for c in columns)
    return KeptRanking(of_rows, ranked, wanted_rows, wanted_items, dict(evaluator.kept))

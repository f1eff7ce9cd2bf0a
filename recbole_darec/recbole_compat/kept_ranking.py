"""What an evaluation found for each of its rows, which RecBole takes the mean of and forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recbole_darec.recbole_compat.metrics import MetricCollector, MetricEvaluator

__all__ = ["KeptRanking", "in_one", "kept_ranking"]


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


def kept_ranking(collector: MetricCollector, evaluator: MetricEvaluator) -> KeptRanking | None:
    """Return what the last evaluation found, of a collector and an evaluator that keep it.

    Returns:
        None where nothing was ranked: metrics of labels.
    """
    if not collector.kept:
        return None
    columns = [part.numpy().astype(np.int64) for part in in_one(collector.kept)]
    users, items, wanted_rows, wanted_items = columns
    return KeptRanking(users, items, wanted_rows, wanted_items, dict(evaluator.kept))


def in_one(batches: Sequence[tuple[torch.Tensor, ...]], first: int = 0) -> tuple[torch.Tensor, ...]:
    """Return the batches that a collector keeps as one, its rows counted from ``first`` on."""
    users, items, rows, wanted = zip(*batches)
    starts = np.cumsum([first, *map(len, users[:-1])]).tolist()
    counted = [part + start for part, start in zip(rows, starts)]
    return torch.cat(users), torch.cat(items), torch.cat(counted), torch.cat(wanted)

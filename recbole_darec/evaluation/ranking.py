"""Ranking metrics of a trained model, outside a trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.evaluator import Collector, Evaluator

__all__ = ["ALL_DIGITS", "evaluate", "keep_all_digits"]

# RecBole rounds every metric to four digits; ours keep what a double holds.
ALL_DIGITS = 15


def keep_all_digits(evaluator: Any) -> None:
    """Make RecBole's evaluator return unrounded metrics."""
    for metric in evaluator.metric_class.values():
        metric.decimal_place = ALL_DIGITS


@torch.no_grad()
def evaluate(config: Any, model: Any, train_data: Any, loader: Any) -> dict[str, float]:
    """Return RecBole's metrics of ``model`` on an all-rank ``loader``, unrounded."""
    collector, evaluator = Collector(config), Evaluator(config)
    keep_all_digits(evaluator)
    collector.data_collect(train_data)
    model.eval()
    for users, (rows, items), positive_u, positive_i in loader:
        scores = model.full_sort_predict(users.to(config["device"]))
        scores = scores.view(len(users), -1)
        scores[:, 0] = -np.inf
        scores[rows, items] = -np.inf
        collector.eval_batch_collect(scores, users, positive_u, positive_i)
    return dict(evaluator.evaluate(collector.get_data_struct()))

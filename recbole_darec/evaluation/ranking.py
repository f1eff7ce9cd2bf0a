"""Ranking metrics of a trained model, outside a trainer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.utils import EvaluatorType

from recbole_darec.numerics.precision import flushed_denormals
from recbole_darec.recbole_compat.kept_ranking import KeptRanking, kept_ranking
from recbole_darec.recbole_compat.metrics import MetricCollector, MetricEvaluator

__all__ = ["evaluate", "evaluate_and_keep", "scored_batches"]


def evaluate(config: Any, model: Any, train_data: Any, loader: Any) -> dict[str, float]:
    """Return RecBole's metrics of ``model``, unrounded.

    Args:
        config: RecBole's configuration.
        model: a trained model.
        train_data: the training loader, of which some metrics need the item counts.
        loader: an all-rank loader, or one of RecBole's with sampled candidates.
    """
    return _evaluated(MetricCollector(config), config, model, train_data, loader)


def evaluate_and_keep(
    config: Any, model: Any, train_data: Any, loader: Any
) -> tuple[dict[str, float], KeptRanking | None]:
    """Return what :func:`evaluate` does, and the ranking that it is of; None of labels."""
    collector = MetricCollector(config)
    collector.kept = []
    metrics = _evaluated(collector, config, model, train_data, loader)
    return metrics, kept_ranking(collector, MetricEvaluator(config))


@torch.no_grad()
@flushed_denormals()
def _evaluated(
    collector: MetricCollector, config: Any, model: Any, train_data: Any, loader: Any
) -> dict[str, float]:
    evaluator = MetricEvaluator(config)
    collector.data_collect(train_data)
    for scores, batch, positive_u, positive_i in scored_batches(config, model, loader):
        collector.eval_batch_collect(scores, batch, positive_u, positive_i)
    collector.model_collect(model)
    return dict(evaluator.evaluate(collector.get_data_struct()))


def scored_batches(
    config: Any, model: Any, loader: Any
) -> Iterator[tuple[torch.Tensor, Any, Any, Any]]:
    """Yield each batch's scores, the batch, and row and id of each item to be found.

    The scores are ``[n_users, n_items]``, minus infinity where an item is masked or no candidate;
    of metrics of predictions and labels they are those of the batch's pairs.

    Args:
        config: RecBole's configuration.
        model: a trained model.
        loader: as in :func:`evaluate`.
    """
    model.eval()
    all_rank = isinstance(loader, FullSortEvalDataLoader)
    items = loader._dataset.get_item_feature().to(config["device"])
    for batch, marked, positive_u, positive_i in loader:
        batch = batch.to(config["device"])
        if all_rank:
            scores = _scores_of_all(config, model, batch, items)
            scores[:, 0] = -np.inf
            if marked is not None:
                scores[marked] = -np.inf
        else:
            scores = _predict(config, model, batch)
            if config["eval_type"] != EvaluatorType.VALUE:
                shape = (int(positive_u[-1]) + 1, loader._dataset.item_num)
                ranked = torch.full(shape, -np.inf, device=scores.device)
                ranked[marked, batch[config["ITEM_ID_FIELD"]]] = scores
                scores = ranked
        yield scores, batch, positive_u, positive_i


def _scores_of_all(config: Any, model: Any, users: Any, items: Any) -> torch.Tensor:
    """Return the scores ``[n_users, n_items]`` of every item for each user of a batch."""
    try:
        scores = model.full_sort_predict(users)
    except NotImplementedError:  # NeuMF scores pairs only
        pairs = users.repeat_interleave(len(items))
        pairs.update(items.repeat(len(users)))
        scores = _predict(config, model, pairs)
    return scores.view(len(users), -1)


def _predict(config: Any, model: Any, pairs: Any) -> torch.Tensor:
    step = config["eval_batch_size"]
    return torch.cat(
        [model.predict(pairs[n : n + step]).reshape(-1) for n in range(0, len(pairs), step)]
    )

"""Ranking metrics by how often the items to be found stand in training: warm, median, cold.

A bucket's metrics are those of the whole ranking, in which every item is a candidate, where only
the bucket's items are to be found; users without one are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_darec.errors import OptionError
from recbole_darec.evaluation.ranking import scored_batches
from recbole_darec.numerics import frequency_buckets
from recbole_darec.numerics.topk import top_k
from recbole_darec.recbole_compat.best_items import hits
from recbole_darec.recbole_compat.kept_ranking import KeptRanking
from recbole_darec.recbole_compat.metrics import MetricEvaluator
from recbole_darec.settings.run_options import bucket_names

__all__ = ["check_buckets", "evaluate_by_frequency", "rows_by_frequency"]


def check_buckets(config: Any, train_data: Any, n_buckets: int) -> None:
    """Refuse buckets that a run's metrics or items do not allow.

    Args:
        config: RecBole's configuration.
        train_data: the training loader.
        n_buckets: 0 asks for none.

    Raises:
        OptionError: no metric is one of a list, or there are fewer items than buckets.
    """
    if not n_buckets:
        return
    if not MetricEvaluator(config).list_metrics:
        raise OptionError(
            f"result_buckets={n_buckets} tells the metrics of a list apart, and metrics="
            f"{config['metrics']} has none: add one such as Recall"
        )
    counted = int((_counts(train_data) > 0).sum())
    if n_buckets > counted:
        raise OptionError(
            f"result_buckets={n_buckets}: only {counted} items stand in the training part; take "
            "fewer"
        )


@torch.no_grad()
def evaluate_by_frequency(
    config: Any, model: Any, train_data: Any, loader: Any, n_buckets: int
) -> dict[str, dict[str, float]]:
    """Return RecBole's metrics of lists, unrounded, by bucket.

    The buckets have the same total training count, as far as whole items allow; what is not in
    training belongs to the last one.

    Args:
        config: RecBole's configuration.
        model: a trained model.
        train_data: the training loader, which the items are counted in.
        loader: as in :func:`~recbole_darec.evaluation.ranking.evaluate`.
        n_buckets: at least 1.

    Returns:
        By the names of :func:`bucket_names`: ``items``, how many there are, ``least`` and ``most``,
        their training counts, ``targets``, items to be found, ``users``, for whom, and then the
        metrics, which a bucket without targets does not have.
    """
    counts = _counts(train_data)
    buckets = torch.zeros(len(counts), dtype=torch.int64)
    buckets[1:] = frequency_buckets(counts[1:], n_buckets)
    longest = max(config["topk"])
    found: list[list[torch.Tensor]] = [[] for _ in range(n_buckets)]
    for scores, _, positive_u, positive_i in scored_batches(config, model, loader):
        _, listed = top_k(scores, longest)
        rows, items = torch.as_tensor(positive_u), torch.as_tensor(positive_i)
        of_items = buckets[items]
        for number in range(n_buckets):
            own = of_items == number + 1
            counted = hits(listed, scores.shape[1], rows[own], items[own])
            found[number].append(counted[counted[:, -1] > 0].cpu())
    evaluator = MetricEvaluator(config)
    results: dict[str, dict[str, float]] = {}
    for number, name in enumerate(bucket_names(n_buckets)):
        its_counts, lists = counts[1:][buckets[1:] == number + 1], torch.cat(found[number])
        results[name] = {
            "items": len(its_counts),
            "least": int(its_counts.min()) if len(its_counts) else 0,
            "most": int(its_counts.max()) if len(its_counts) else 0,
            "targets": int(lists[:, -1].sum()),
            "users": len(lists),
        }
        if len(lists):
            results[name].update(evaluator.of_lists(lists))
    return results


def rows_by_frequency(
    ranking: KeptRanking, evaluator: MetricEvaluator, train_data: Any, n_buckets: int
) -> dict[str, np.ndarray]:
    """Return what :func:`evaluate_by_frequency` takes the means of: the metrics of each row.

    Args:
        ranking: what an evaluation found.
        evaluator: of the same metrics.
        train_data, n_buckets: as there.

    Returns:
        ``<metric> <bucket>`` by metric and bucket, float32 ``[n]``; NaN for a row without one of
        the bucket's items to be found.  A bucket that no row has one of has no metrics.
    """
    counts = _counts(train_data)
    buckets = np.zeros(len(counts), dtype=np.int64)
    buckets[1:] = frequency_buckets(counts[1:], n_buckets).numpy()
    listed = torch.from_numpy(ranking.items)
    found: dict[str, np.ndarray] = {}
    for number, name in enumerate(bucket_names(n_buckets)):
        own = buckets[ranking.wanted_items] == number + 1
        rows, items = ranking.wanted_rows[own], ranking.wanted_items[own]
        counted = hits(listed, len(counts), torch.from_numpy(rows), torch.from_numpy(items))
        there = (counted[:, -1] > 0).numpy()
        if not there.any():
            continue
        for metric, values in evaluator.rows_of_lists(counted[there]).items():
            of_rows = found[f"{metric} {name}"] = np.full(len(there), np.nan, np.float32)
            of_rows[there] = values
    return found


def _counts(train_data: Any) -> torch.Tensor:
    """Return how often each item id stands in the training part, int64 ``[n_items]``."""
    part = train_data._dataset
    return torch.bincount(torch.as_tensor(part.inter_feat[part.iid_field]), minlength=part.item_num)

"""Ranking metrics by how often the items to be found stand in training: warm, median, cold.

A bucket's metrics are those of the whole ranking, in which every item is a candidate, where only
the bucket's items are to be found; users without one are left out.

The buckets are PAD's: each has as many training *interactions*, so that the cold one has most of
the items.  The groups of a study's ``frequency`` figures have the same three names and are thirds
of the *ids*, of users too (:mod:`recbole_darec.studies.frequency`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_darec.errors import OptionError
from recbole_darec.evaluation.ranking import evaluate_and_keep
from recbole_darec.numerics import frequency_buckets
from recbole_darec.recbole_compat.best_items import hits
from recbole_darec.recbole_compat.kept_ranking import KeptRanking
from recbole_darec.recbole_compat.metrics import MetricEvaluator
from recbole_darec.settings.run_options import bucket_names

__all__ = [
    "Bucket",
    "check_buckets",
    "evaluate_by_frequency",
    "metrics_by_frequency",
    "ranked_buckets",
    "rows_by_frequency",
]


@dataclass(frozen=True)
class Bucket:
    """A bucket of items, and where a ranking has those of them that were to be found.

    Attributes:
        counts: how often each of its items stands in training, int64 ``[n_items]``.
        rows: which of the ranking's rows have an item of it to be found, bool ``[n_rows]``.
        lists: of those rows, what :func:`~recbole_darec.recbole_compat.best_items.hits` returns.
    """

    counts: torch.Tensor
    rows: np.ndarray
    lists: torch.Tensor


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


def ranked_buckets(ranking: KeptRanking, train_data: Any, n_buckets: int) -> dict[str, Bucket]:
    """Return the buckets of items, and what a ranking found of each.

    The buckets have the same total training count, as far as whole items allow; what is not in
    training belongs to the last one.

    Args:
        ranking: what an evaluation found.
        train_data: the training loader, which the items are counted in.
        n_buckets: at least 1.

    Returns:
        By the names of :func:`bucket_names`, the most frequent first.
    """
    counts = _counts(train_data)
    buckets = torch.zeros(len(counts), dtype=torch.int64)
    buckets[1:] = frequency_buckets(counts[1:], n_buckets)
    of_wanted = buckets.numpy()[ranking.wanted_items]
    listed = torch.from_numpy(ranking.items)
    found: dict[str, Bucket] = {}
    for number, name in enumerate(bucket_names(n_buckets), 1):
        own = of_wanted == number
        rows, items = ranking.wanted_rows[own], ranking.wanted_items[own]
        counted = hits(listed, len(counts), torch.from_numpy(rows), torch.from_numpy(items))
        there = counted[:, -1] > 0
        found[name] = Bucket(counts[buckets == number], there.numpy(), counted[there])
    return found


def metrics_by_frequency(
    buckets: Mapping[str, Bucket], evaluator: MetricEvaluator
) -> dict[str, dict[str, float]]:
    """Return RecBole's metrics of lists, unrounded, by bucket.

    Args:
        buckets: what :func:`ranked_buckets` returns.
        evaluator: of the metrics.

    Returns:
        By bucket: ``items``, how many there are, ``least`` and ``most``, their training counts,
        ``targets``, items to be found, ``users``, for whom, and then the metrics, which a bucket
        without targets does not have.
    """
    results: dict[str, dict[str, float]] = {}
    for name, bucket in buckets.items():
        n_items = len(bucket.counts)
        results[name] = {
            "items": n_items,
            "least": int(bucket.counts.min()) if n_items else 0,
            "most": int(bucket.counts.max()) if n_items else 0,
            "targets": int(bucket.lists[:, -1].sum()),
            "users": len(bucket.lists),
        }
        if len(bucket.lists):
            results[name].update(evaluator.of_lists(bucket.lists))
    return results


def evaluate_by_frequency(
    config: Any, model: Any, train_data: Any, loader: Any, n_buckets: int
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Rank a part once; return RecBole's metrics, and those of lists by bucket.

    Args:
        config: RecBole's configuration, which :func:`check_buckets` has allowed.
        model: a trained model.
        train_data, n_buckets: as in :func:`ranked_buckets`.
        loader: as in :func:`~recbole_darec.evaluation.ranking.evaluate`.
    """
    metrics, ranking = evaluate_and_keep(config, model, train_data, loader)
    assert ranking is not None  # there are metrics of lists
    buckets = ranked_buckets(ranking, train_data, n_buckets)
    return metrics, metrics_by_frequency(buckets, MetricEvaluator(config))


def rows_by_frequency(
    buckets: Mapping[str, Bucket], evaluator: MetricEvaluator
) -> dict[str, np.ndarray]:
    """Return what :func:`metrics_by_frequency` takes the means of: the metrics of each row.

    Args:
        buckets: as there.
        evaluator: one that keeps rows.

    Returns:
        ``<metric> <bucket>`` by metric and bucket, float32 ``[n]``; NaN for a row without one of
        the bucket's items to be found.  A bucket that no row has one of has no metrics.
    """
    found: dict[str, np.ndarray] = {}
    for name, bucket in buckets.items():
        if not len(bucket.lists):
            continue
        for metric, values in evaluator.rows_of_lists(bucket.lists).items():
            of_rows = found[f"{metric} {name}"] = np.full(len(bucket.rows), np.nan, np.float32)
            of_rows[bucket.rows] = values
    return found


def _counts(train_data: Any) -> torch.Tensor:
    """Return how often each item id stands in the training part, int64 ``[n_items]``."""
    part = train_data._dataset
    return torch.bincount(torch.as_tensor(part.inter_feat[part.iid_field]), minlength=part.item_num)

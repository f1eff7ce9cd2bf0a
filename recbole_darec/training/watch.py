"""Who looks on while a run is trained and tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_darec.evaluation.by_frequency import (
    metrics_by_frequency,
    ranked_buckets,
    rows_by_frequency,
)
from recbole_darec.recbole_compat.kept_ranking import KeptRanking, kept_ranking

__all__ = ["Watch", "tested"]


class Watch:
    """What somebody is told who looks on; a run changes nothing by it.

    Attributes:
        asks_for_rows: whether :meth:`tested` is to be told what each row of the test part has.
        keeps_snapshot: whether the run's snapshot stays when the run has ended: who looks on
            removes it, once what came of the run is safe.
    """

    asks_for_rows = False
    keeps_snapshot = False

    def trained(
        self, epoch: int, seconds: float, losses: Mapping[str, float], phase: int = 0
    ) -> None:
        """An epoch, from 0 in each phase, was trained in so many seconds; its losses by name."""

    def validated(self, epoch: int, score: float, phase: int = 0) -> None:
        """The model was validated after an epoch of a phase that trains what ranks."""

    def took_first_phase(self) -> None:
        """The first phase was not trained: its outcome is another run's."""

    def tested(self, model: Any, train_data: Any, ranking: KeptRanking | None) -> None:
        """The best model was tested: what it found for each row of the test part.

        ``ranking`` is None where nothing is ranked: metrics of labels.
        """


def tested(
    trainer: Any, train_data: Any, test_data: Any, **how: Any
) -> tuple[dict[str, float], dict[str, dict[str, float]] | None]:
    """Evaluate the test part, and tell who looks on; it is ranked once, whatever is asked of it.

    Args:
        trainer: of the run.
        train_data, test_data: the run's loaders.
        how: what ``ResumableTrainer.evaluate`` takes.

    Returns:
        The metrics; and those of buckets, where the run asks for ``result_buckets``.
    """
    n_buckets = trainer.config.settings.evaluation.result_buckets
    watch, collector, evaluator = trainer.watch, trainer.eval_collector, trainer.evaluator
    if watch.asks_for_rows:
        evaluator.keep_rows()
    collector.kept = [] if n_buckets or watch.asks_for_rows else None
    try:
        result = dict(trainer.evaluate(test_data, **how))
        ranking = kept_ranking(collector, evaluator)
    finally:
        collector.kept = None
    by_bucket = None
    if n_buckets and ranking is not None:
        buckets = ranked_buckets(ranking, train_data, n_buckets)
        by_bucket = metrics_by_frequency(buckets, evaluator)
        if watch.asks_for_rows:
            ranking.metrics.update(rows_by_frequency(buckets, evaluator))
    if watch.asks_for_rows:
        watch.tested(trainer.model, train_data, ranking)
    return result, by_bucket

"""Who looks on while a run is trained and tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_darec.evaluation.by_frequency import rows_by_frequency
from recbole_darec.recbole_compat.kept_ranking import KeptRanking, kept_ranking

__all__ = ["Watch", "tested"]


class Watch:
    """What somebody is told who looks on; a run changes nothing by it.

    Attributes:
        asks_for_rows: whether :meth:`tested` is to be told what each row of the test part has.
    """

    asks_for_rows = False

    def trained(
        self, epoch: int, seconds: float, losses: Mapping[str, float], phase: int = 0
    ) -> None:
        """An epoch, from 0 in each phase, was trained in so many seconds; its losses by name."""

    def validated(self, epoch: int, score: float, phase: int = 0) -> None:
        """The model was validated after an epoch of a phase that trains what ranks."""

    def tested(self, model: Any, train_data: Any, ranking: KeptRanking) -> None:
        """The best model was tested: what it found for each row of the test part."""


def tested(trainer: Any, train_data: Any, test_data: Any, **how: Any) -> Any:
    """Evaluate the test part, and tell who looks on.

    Args:
        trainer: of the run.
        train_data, test_data: the run's loaders.
        how: what ``ResumableTrainer.evaluate`` takes.
    """
    if not trainer.watch.asks_for_rows:
        return trainer.evaluate(test_data, **how)
    trainer.eval_collector.kept = []
    trainer.evaluator.keep_rows()
    result = trainer.evaluate(test_data, **how)
    ranking = kept_ranking(trainer.eval_collector, trainer.evaluator)
    trainer.eval_collector.kept = None
    if n_buckets := trainer.config.settings.evaluation.result_buckets:
        found = rows_by_frequency(ranking, trainer.evaluator, train_data, n_buckets)
        ranking.metrics.update(found)
    trainer.watch.tested(trainer.model, train_data, ranking)
    return result

"""Ranks that share an evaluation: each user once, batches as those of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.evaluation.shared import evaluated_by
from recbole_darec.prepared import make_trainer
from recbole_darec.recbole_compat.kept_ranking import in_one
from recbole_darec.testing.tiny_runs import prepared
from recbole_darec.training.parallel import Ranks


@given(n=st.integers(0, 60), step=st.integers(1, 20), size=st.integers(1, 5))
def test_rows_are_shared_in_whole_batches(n: int, step: int, size: int) -> None:
    parts = [Ranks(rank, size).rows(n, step) for rank in range(size)]
    assert [row for part in parts for row in range(n)[part]] == list(range(n))
    if -(-n // step) >= size:
        assert all(part.start % step == 0 for part in parts)


class _Told(Ranks):
    """A rank that has what the ranks before it have told; the last one has all."""

    def __init__(self, rank: int, size: int, told: dict[int, list[torch.Tensor]]) -> None:
        super().__init__(rank, size)
        self._told = told

    def gather(self, rows: torch.Tensor | None) -> torch.Tensor | None:
        if rows is None:
            rows = torch.empty(0)
        mine = self._told.setdefault(self.rank, [])
        mine.append(rows)
        place = len(mine) - 1
        parts = [self._told[r][place] for r in sorted(self._told) if len(self._told[r][place])]
        return torch.cat(parts) if parts else None


@pytest.mark.parametrize(("size", "users"), [(2, 16), (3, 1000), (7, 16)])
def test_the_metrics_are_of_all_users(
    size: int, users: int, tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {"align": "none", "eval_batch_users": users}
    asked |= {"metrics": ["Recall", "NDCG", "GAUC", "ItemCoverage"], "valid_metric": "Recall@10"}
    run = prepared(tmp_path / "dataset", **asked)
    trainer = make_trainer(run)
    trainer.eval_collector.data_collect(run.train_data)
    trainer.eval_collector.kept = []
    alone = trainer.evaluate(run.test_data, load_best_model=False)
    ranked = in_one(trainer.eval_collector.kept)
    told: dict[int, list[torch.Tensor]] = {}
    for rank in range(size):
        trainer.ranks = _Told(rank, size, told)
        with evaluated_by(trainer.ranks, run.test_data, trainer.eval_collector):
            assert len(list(run.test_data)) <= len(run.test_data)
        trainer.eval_collector.kept = []
        found = trainer.evaluate(run.test_data, load_best_model=False)
    assert found == pytest.approx(alone, rel=1e-6)
    assert run.test_data.own is None
    for of_ranks, of_one in zip(in_one(trainer.eval_collector.kept), ranked):
        assert torch.equal(of_ranks, of_one)

"""An evaluation in blocks of items against that of all items at once."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_runs import prepared

from recbole_darec.run import make_trainer
from recbole_darec.testing import TinyDataset
from recbole_darec.training import in_blocks

METRICS = {"metrics": ["Recall", "NDCG", "MRR", "ItemCoverage"], "topk": [3, 10]}


def evaluated(tiny: TinyDataset, monkeypatch: Any, model: str, **changed: Any) -> list[Any]:
    """Return what is found whole and in blocks of 7 items, and how many blocks there were."""
    run = prepared(tiny.data_path, model, **changed)
    trainer = make_trainer(run)
    trainer.fit(run.train_data, run.valid_data, saved=False)
    whole = trainer.evaluate(run.test_data, load_best_model=False)
    blocks = []
    best = in_blocks.top_k_in_blocks

    def noted(*args: Any) -> Any:
        blocks.append(args[3])
        return best(*args)

    monkeypatch.setattr(in_blocks, "top_k_in_blocks", noted)
    monkeypatch.setattr(in_blocks, "_ELEMENTS", 7 * run.test_data.sample_size)
    monkeypatch.setattr(trainer, "_too_many", lambda data: trainer.eval_collector.reads_lists_alone)
    return [whole, trainer.evaluate(run.test_data, load_best_model=False), blocks]


@pytest.mark.parametrize("model", ["LightGCN", "BPR"])
@pytest.mark.parametrize("align", ["none", "darec"])
@pytest.mark.parametrize("mask", ["train", "train_valid"])
def test_finds_what_all_at_once_finds(
    tiny_dataset: TinyDataset, monkeypatch: Any, model: str, align: str, mask: str
) -> None:
    changed = {**METRICS, "align": align, "eval_mask": mask}
    if model == "BPR":
        changed["n_layers"] = None
    changed = {name: value for name, value in changed.items() if value is not None}
    whole, found, blocks = evaluated(tiny_dataset, monkeypatch, model, **changed)
    assert blocks == [7]
    assert found == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(
    ("model", "changed"),
    [("LightGCN", {"metrics": ["Recall", "GAUC"]}), ("SimpleX", {"metrics": ["Recall"]})],
)
def test_what_needs_all_scores_or_has_no_vectors_is_ranked_whole(
    tiny_dataset: TinyDataset, monkeypatch: Any, model: str, changed: dict[str, Any]
) -> None:
    if model == "SimpleX":
        # Its scores are cosines.
        monkeypatch.setattr("tiny_runs.QUICK", {"epochs": 1, "topk": [5], "show_progress": False})
        changed = {**changed, "valid_metric": "Recall@5"}
    whole, found, blocks = evaluated(tiny_dataset, monkeypatch, model, align="none", **changed)
    assert blocks == []
    assert found == whole


def test_only_where_the_scores_would_not_fit(tiny_dataset: TinyDataset, monkeypatch: Any) -> None:
    run = prepared(tiny_dataset.data_path, align="none")
    trainer = make_trainer(run)
    assert not trainer._too_many(run.test_data)
    monkeypatch.setattr(run.test_data, "batch_users", 5)
    assert trainer._too_many(run.test_data)
    assert not trainer._too_many(run.train_data)

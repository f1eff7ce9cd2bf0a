"""Metrics by how often an item stands in training, against loops over users and ranks."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import prepared, scores

from recbole_darec.cli.main import main
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.by_frequency import evaluate_by_frequency
from recbole_darec.evaluation.ranking import evaluate
from recbole_darec.run import Prepared, make_trainer
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training import watch

METRICS = {
    "metrics": ["Recall", "NDCG", "ItemCoverage"],
    "topk": [1, 5],
    "valid_metric": "Recall@5",
    "align": "none",
}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("by_frequency")).data_path


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sequences(tmp_path_factory.mktemp("sequences") / "dataset").data_path


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def naive(run: Prepared, n_buckets: int) -> list[dict[str, float]]:
    """Recall@5 and NDCG@5 of each bucket, user by user and rank by rank."""
    train = run.train_data._dataset.inter_feat
    counts = Counter(train["item_id"].tolist())
    total, before, bucket_of = sum(counts.values()), 0, {}
    for item in sorted(range(1, run.dataset.item_num), key=lambda i: (-counts[i], i)):
        middle = before + counts[item] / 2
        bucket_of[item] = n_buckets if not counts[item] else int(middle * n_buckets // total)
        before += counts[item]
    loader, results = run.test_data, []
    with torch.no_grad():
        tables = torch.cat(
            [run.model.full_sort_predict(b).view(len(b), -1) for b, *_ in loader]
        ).double()
    test = loader._dataset.inter_feat
    users = sorted(set(test["user_id"].tolist()))
    taken, wanted = by_user(train, run.valid_data._dataset.inter_feat), by_user(test)
    for bucket in range(n_buckets):
        recalls, gains, targets = [], [], 0
        for row, user in enumerate(users):
            own = {item for item in wanted[user] if min(bucket_of[item], n_buckets - 1) == bucket}
            if not own:
                continue
            hidden = taken[user] - wanted[user]
            ranked = [i for i in range(1, run.dataset.item_num) if i not in hidden]
            ranked.sort(key=lambda i: -float(tables[row, i]))
            found = [item in own for item in ranked[:5]]
            gain = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(found) if hit)
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(5, len(own))))
            targets += len(own)
            recalls.append(sum(found) / len(own))
            gains.append(gain / ideal)
        results.append({"targets": targets, "users": len(recalls)})
        if recalls:
            results[-1].update({"recall@5": np.mean(recalls), "ndcg@5": np.mean(gains)})
    return results


def by_user(*parts: Any) -> defaultdict[int, set[int]]:
    found = defaultdict(set)
    for part in parts:
        for user, item in zip(part["user_id"].tolist(), part["item_id"].tolist()):
            found[user].add(item)
    return found


@pytest.mark.parametrize("n_buckets", [1, 3, 7])
def test_a_bucket_has_the_metrics_of_a_loop_over_its_targets(
    n_buckets: int, data_path: Path
) -> None:
    run = prepared(data_path, **METRICS, eval_batch_users=13)
    made = run.config, run.model, run.train_data, run.test_data
    whole, found = evaluate_by_frequency(*made, n_buckets)
    assert whole == evaluate(*made)
    assert sum(bucket["items"] for bucket in found.values()) == run.dataset.item_num - 1
    for bucket, expected in zip(found.values(), naive(run, n_buckets)):
        assert bucket["least"] <= bucket["most"]
        for name, value in expected.items():
            assert bucket[name] == pytest.approx(value, abs=1e-9), name
    if n_buckets == 1:
        for name in ("recall@1", "recall@5", "ndcg@5"):
            assert found["bucket1"][name] == pytest.approx(whole[name], abs=1e-12)


def test_of_sequences_the_buckets_share_the_users(sequences: Path) -> None:
    run = prepared(sequences, "MarkovChain", **METRICS, eval_mask="history")
    whole, found = evaluate_by_frequency(run.config, run.model, run.train_data, run.test_data, 3)
    assert list(found) == ["warm", "median", "cold"]
    assert sum(bucket["users"] for bucket in found.values()) == len(scores(run))
    for name in ("recall@1", "recall@5", "ndcg@5"):
        mean = sum(b["users"] * b[name] for b in found.values()) / len(scores(run))
        assert mean == pytest.approx(whole[name], abs=1e-12)


def count_rankings(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets a line for each batch of users that a trainer's model ranks for."""
    found: list[int] = []
    ranking = trainer.model.full_sort_predict

    def counted(batch: Any) -> Any:
        found.append(len(batch))
        return ranking(batch)

    monkeypatch.setattr(trainer.model, "full_sort_predict", counted)
    return found


@pytest.mark.parametrize("family", ["general", "sequential"])
def test_the_rows_of_a_bucket_have_its_metrics_as_mean(
    family: str, data_path: Path, sequences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of each user, which a study's paired tests are of; the test part is ranked once."""
    if family == "general":
        run = prepared(data_path, **METRICS, result_buckets=3)
    else:
        run = prepared(sequences, model="SASRec", **METRICS, result_buckets=3)
    trainer = make_trainer(run)
    given: dict[str, Any] = {}

    class Looking(watch.Watch):
        asks_for_rows = True

        def tested(self, model: Any, train_data: Any, ranking: Any) -> None:
            given.update(ranking.metrics)

    trainer.watch = Looking()
    trainer.eval_collector.data_collect(run.train_data)
    ranked = count_rankings(trainer, monkeypatch)
    test, found = watch.tested(trainer, run.train_data, run.test_data, load_best_model=False)
    assert len(ranked) == len(run.test_data)  # each batch once, for all that is asked of it
    made = run.config, run.model, run.train_data, run.test_data
    whole, expected = evaluate_by_frequency(*made, 3)
    assert (test, found) == (whole, expected)
    assert len(ranked) == 2 * len(run.test_data)
    for bucket, metrics in expected.items():
        for name in ("recall@5", "ndcg@5", "recall@1"):
            values = given[f"{name} {bucket}"]
            assert np.isfinite(values).sum() == metrics["users"]
            assert float(np.nanmean(values)) == pytest.approx(metrics[name], rel=1e-6)


def test_the_commands_tell_the_buckets_apart(
    sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dataset=tiny", f"--data_path={sequences}", "--align=none", "--epochs=1"]
    arguments += ["--model=SASRec", "--hidden_size=8", "--inner_size=8", "--result_buckets=3"]
    arguments += ["--show_progress=False"]
    assert main(["train", *arguments, "--out=model.pth"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"cold: \d+ items that stand \d+ to \d+ times in training", table)
    assert re.search(r"^metric +warm +median +cold$", table, re.M)
    assert main(["evaluate", "model.pth", "--result_buckets=2"]) == 0
    assert re.search(r"^metric +bucket1 +bucket2$", capsys.readouterr().out, re.M)
    assert main(["evaluate", "model.pth"]) == 0
    assert "median" in capsys.readouterr().out
    assert main(["train", *arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(answer["test_by_frequency"]) == {"warm", "median", "cold"}


def test_what_cannot_be_told_apart_is_refused(data_path: Path) -> None:
    with pytest.raises(OptionError, match=r"result_buckets=3 tells .*add one such as Recall"):
        prepared(
            data_path,
            align="none",
            metrics=["ItemCoverage"],
            valid_metric="ItemCoverage@5",
            topk=[5],
            result_buckets=3,
        )
    with pytest.raises(OptionError, match=r"result_buckets=99: only \d+ items stand"):
        prepared(data_path, align="none", result_buckets=99)

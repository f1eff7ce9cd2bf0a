"""All-rank evaluation against a loop over users, and against RecBole's own loader."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.dataloader import FullSortEvalDataLoader
from tiny_runs import prepared

from recbole_darec import recbole_compat as compat
from recbole_darec.evaluation.all_rank import AllRankLoader, UserItems
from recbole_darec.evaluation.ranking import evaluate
from recbole_darec.run import Prepared, make_trainer
from recbole_darec.settings.run_options import EvaluationOptions

TOPK = [1, 5, 10]
METRICS = {"metrics": ["Recall", "NDCG", "MRR", "Precision", "Hit"], "topk": TOPK}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    path = make_tiny(tmp_path_factory.mktemp("all_rank")).data_path
    uneven(path / "tiny")
    return path


def uneven(folder: Path) -> None:
    """Give some users no test item, one user very many, and one a test item seen in training."""
    test = folder / "tiny.test.inter"
    header, *lines = test.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.split("\t")[0] not in ("u3", "u7", "u59")]
    seen = {line for part in ("train", "valid") for line in read(folder, part)}
    many = [f"u0\ti{n}\n" for n in range(25) if f"u0\ti{n}\n" not in seen]
    train = [line for line in read(folder, "train") if line.startswith("u5\t")]
    test.write_text(header + "".join(dict.fromkeys([*kept, *many, train[0]])))


def read(folder: Path, part: str) -> list[str]:
    return (folder / f"tiny.{part}.inter").read_text().splitlines(keepends=True)[1:]


def naive_metrics(run: Prepared, mask: str, part: str) -> dict[str, float]:
    """Recall@K and NDCG@K, user by user and rank by rank, in float64."""
    config, dataset = run.config, run.dataset
    folder = Path(config["data_path"])
    user_ids = {t: n for n, t in enumerate(dataset.field2id_token[dataset.uid_field])}
    item_ids = {t: n for n, t in enumerate(dataset.field2id_token[dataset.iid_field])}
    items: dict[str, dict[int, set[int]]] = {}
    for name in ("train", "valid", "test"):
        items[name] = {}
        for line in read(folder, name):
            user, item = line.rstrip("\n").split("\t")
            items[name].setdefault(user_ids[user], set()).add(item_ids[item])
    masked = ["train"] if mask == "train" or part == "valid" else ["train", "valid"]
    with torch.no_grad():
        users, embeddings = (e.double().numpy() for e in run.model.eval().forward()[:2])
    totals: dict[str, list[float]] = {}
    for user, positives in items[part].items():
        hidden = set().union(*(items[m].get(user, set()) for m in masked)) - positives
        ranked = [n for n in range(1, dataset.item_num) if n not in hidden]
        ranked.sort(key=lambda n: -float(users[user] @ embeddings[n]))
        for k in TOPK:
            hits = [n in positives for n in ranked[:k]]
            gain = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(hits) if hit)
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(positives))))
            totals.setdefault(f"recall@{k}", []).append(sum(hits) / len(positives))
            totals.setdefault(f"ndcg@{k}", []).append(gain / ideal)
    return {name: float(np.mean(per_user)) for name, per_user in totals.items()}


def trained(data_path: Path, **changed: Any) -> Prepared:
    """A model whose scores are far from equal: trained for a few steps."""
    run = prepared(data_path, align="none", **METRICS, **changed)
    optimizer = torch.optim.Adam(run.model.parameters(), lr=0.02)
    for _ in range(3):
        for batch in run.train_data:
            optimizer.zero_grad()
            run.model.calculate_loss(batch).backward()
            optimizer.step()
    return run


@pytest.mark.parametrize("mask", ["train", "train_valid"])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_metrics_are_those_of_a_loop_over_users(mask: str, part: str, data_path: Path) -> None:
    run = trained(data_path, eval_mask=mask)
    loader = run.test_data if part == "test" else run.valid_data
    found = evaluate(run.config, run.model, run.train_data, loader)
    expected = naive_metrics(run, mask, part)
    assert set(expected) <= set(found)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_the_two_masks_rank_differently(data_path: Path) -> None:
    found = []
    for mask in ("train", "train_valid"):
        run = trained(data_path, eval_mask=mask)
        found.append(evaluate(run.config, run.model, run.train_data, run.test_data))
    # With the validation items out of the way the test items can only move up.
    assert found[0]["recall@10"] < found[1]["recall@10"]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_train_valid_is_recboles_own_evaluation(part: str, data_path: Path) -> None:
    run = trained(data_path, eval_mask="train_valid")
    parts, _ = compat.split_dataset(run.config, compat.load_dataset(run.config))
    _, valid, test = compat.training_loader(run.config, run.dataset, parts)
    position, sampler = (2, test) if part == "test" else (1, valid)
    stock = FullSortEvalDataLoader(run.config, parts[position], sampler, shuffle=False)
    loader = run.test_data if part == "test" else run.valid_data
    assert isinstance(loader, AllRankLoader)
    ours = evaluate(run.config, run.model, run.train_data, loader)
    assert ours == evaluate(run.config, run.model, run.train_data, stock)


@pytest.mark.parametrize("users", [1, 7, 57, 5000])
def test_the_batch_size_changes_no_metric(users: int, data_path: Path) -> None:
    run = trained(data_path)
    parts, _ = compat.split_dataset(run.config, compat.load_dataset(run.config))
    loader = AllRankLoader(run.config, parts[2], parts[:2], users)
    assert len(loader) == math.ceil(57 / users)
    batches = list(loader)
    assert [len(batch[0]) for batch in batches][:-1] == [users] * (len(batches) - 1)
    found = evaluate(run.config, run.model, run.train_data, loader)
    whole = evaluate(run.config, run.model, run.train_data, run.test_data)
    # The order of a float32 product may differ by its shape, that of the ranks may not.
    assert found == pytest.approx(whole, abs=1e-12)


def test_the_option_counts_users(data_path: Path) -> None:
    run = prepared(data_path, eval_batch_users=10, align="none")
    assert len(run.test_data) == 6
    assert len(run.valid_data) == 6


def test_trainer_and_evaluate_agree(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = trained(data_path, eval_mask="train")
    trainer = make_trainer(run)
    trainer.eval_collector.data_collect(run.train_data)
    found = trainer.evaluate(run.test_data, load_best_model=False)
    assert dict(found) == evaluate(run.config, run.model, run.train_data, run.test_data)


def test_metrics_are_not_rounded(data_path: Path) -> None:
    run = trained(data_path)
    found = evaluate(run.config, run.model, run.train_data, run.test_data)
    assert any(round(value, 6) != value for value in found.values())
    # 57 users have a test item, and each of them counts alike.
    assert found["hit@10"] * 57 == pytest.approx(round(found["hit@10"] * 57), abs=1e-9)


def test_sampled_candidates_are_left_to_recbole(data_path: Path) -> None:
    run = trained(data_path, eval_args={"mode": "uni20", "order": "RO", "group_by": "user"})
    assert not isinstance(run.test_data, AllRankLoader)
    found = evaluate(run.config, run.model, run.train_data, run.test_data)
    whole = trained(data_path)
    full = evaluate(whole.config, whole.model, whole.train_data, whole.test_data)
    assert full["recall@5"] < found["recall@5"] <= 1.0


def test_a_model_that_scores_pairs_only_is_ranked_pair_by_pair(data_path: Path) -> None:
    run = prepared(data_path, "NeuMF", align="none", eval_batch_size=100, **METRICS)
    found = evaluate(run.config, run.model, run.train_data, run.test_data)
    (batch,) = run.test_data
    users = batch[0]
    pairs = users.repeat_interleave(run.dataset.item_num)
    pairs.update(run.test_data._dataset.get_item_feature().repeat(len(users)))
    with torch.no_grad():
        scores = run.model.predict(pairs)
    run.model.full_sort_predict = lambda _: scores.clone()
    again = evaluate(run.config, run.model, run.train_data, run.test_data)
    assert again == pytest.approx(found, abs=1e-12)


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(PAIRS, PAIRS, st.lists(st.integers(0, 5), max_size=6, unique=True))
def test_user_items_are_sets_of_pairs(
    pairs: list[tuple[int, int]], other: list[tuple[int, int]], asked: list[int]
) -> None:
    def built(of: list[tuple[int, int]]) -> UserItems:
        users, items = np.array(of, dtype=np.int64).reshape(-1, 2).T
        return UserItems(users, items, 6, 7)

    left = built(pairs).without(built(other))
    expected = set(pairs) - set(other)
    assert left.users().tolist() == sorted({user for user, _ in expected})
    rows, items = left.of(np.array(asked, dtype=np.int64))
    found = [(asked[row], item) for row, item in zip(rows.tolist(), items.tolist())]
    assert found == [
        (user, item) for user in asked for item in sorted(i for u, i in expected if u == user)
    ]


@pytest.mark.parametrize(
    ("block_mb", "n_items", "users"), [(256, 1_000_001, 67), (256, 9_332, 1024), (1, 10**7, 1)]
)
def test_scores_of_a_batch_stay_within_their_memory(
    block_mb: int, n_items: int, users: int
) -> None:
    options = EvaluationOptions(eval_block_mb=block_mb)
    assert options.users_per_batch(n_items) == users
    assert users == 1 or users * n_items * 4 <= block_mb * 2**20


def test_the_loader_takes_as_many_users_as_fit(data_path: Path) -> None:
    run = prepared(data_path, eval_block_mb=1, eval_batch_users=10**6, align="none")
    assert run.test_data.batch_users == 2**20 // (4 * run.dataset.item_num)

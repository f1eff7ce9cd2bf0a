"""Every metric that RecBole documents, against a count by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error
from tiny_runs import options, prepared

from recbole_darec import evaluate_checkpoint, load_data_and_model, run_recbole_darec
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.ranking import evaluate
from recbole_darec.run import Prepared

LIST_METRICS = [
    "ItemCoverage",
    "GiniIndex",
    "ShannonEntropy",
    "AveragePopularity",
    "TailPercentage",
]
TOPK = [3, 30]


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    """The tiny data set, with one user who has 15 items left to rank."""
    path = make_tiny(tmp_path_factory.mktemp("metrics")).data_path
    train = path / "tiny" / "tiny.train.inter"
    known = {line for part in ("train", "valid", "test") for line in lines(path, part)}
    more = [f"u0\ti{n}" for n in range(40) if f"u0\ti{n}" not in known][:15]
    train.write_text(train.read_text() + "".join(f"{line}\n" for line in more))
    return path


def lines(data_path: Path, part: str) -> list[str]:
    return (data_path / "tiny" / f"tiny.{part}.inter").read_text().splitlines()[1:]


def lists_of(run: Prepared, longest: int) -> list[list[int]]:
    """The recommended items of each test user, user by user; no masked item, no padding."""
    loader, model = run.test_data, run.model.eval()
    found = []
    for user in loader.evaluated_users:
        with torch.no_grad():
            row = model.full_sort_predict(loader.user_df[np.flatnonzero(
                loader.evaluated_users == user)])  # fmt: skip
        hidden = {0, *loader.uid2history_item[user].tolist()}
        ranked = [int(n) for n in row.view(-1).argsort(descending=True) if int(n) not in hidden]
        found.append(ranked[:longest])
    return found


def by_hand(run: Prepared, k: int, tail: float = 0.1) -> dict[str, float]:
    lists = [row[:k] for row in lists_of(run, k)]
    counts = Counter(item for row in lists for item in row)
    total, n_items = sum(counts.values()), run.dataset.item_num - 1
    popular = Counter(run.train_data._dataset.inter_feat[run.dataset.iid_field].tolist())
    ordered = sorted(popular, key=lambda item: (popular[item], item))
    rare = set(ordered[: max(int(len(ordered) * tail), 1)])
    # Gini over all items, those that nobody is shown included, from the sorted shares.
    shares = sorted([0] * (n_items - len(counts)) + list(counts.values()))
    gini = sum((2 * i - n_items - 1) * share for i, share in enumerate(shares, 1))
    entropy = -sum(c / total * math.log(c / total) for c in counts.values())
    return {
        f"itemcoverage@{k}": len(counts) / n_items,
        f"giniindex@{k}": gini / total / n_items,
        f"shannonentropy@{k}": entropy / len(counts),
        f"averagepopularity@{k}": np.mean([np.mean([popular[i] for i in row]) for row in lists]),
        f"tailpercentage@{k}": np.mean([np.mean([i in rare for i in row]) for row in lists]),
    }


def test_lists_are_counted_as_by_hand(data_path: Path) -> None:
    run = prepared(data_path, align="none", metrics=LIST_METRICS, topk=TOPK,
                   valid_metric="ItemCoverage@3")  # fmt: skip
    assert min(map(len, lists_of(run, 30))) < 30, "one list must end before k"
    found = evaluate(run.config, run.model, run.train_data, run.test_data)
    for k in TOPK:
        for name, value in by_hand(run, k).items():
            assert found[name] == pytest.approx(value, abs=1e-12), name


def test_training_evaluation_and_checkpoint_say_the_same(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = [*LIST_METRICS, "Recall", "Hit", "MRR", "MAP", "NDCG", "Precision", "GAUC"]
    given = options(data_path, metrics=metrics, topk=TOPK, valid_metric="GiniIndex@3", align="none")
    result = run_recbole_darec("LightGCN", "tiny", config_dict=given)
    assert result["valid_score_bigger"] is False
    found = evaluate_checkpoint(result["model_file"])
    assert found["test"] == result["test_result"]
    assert found["valid"] == result["best_valid_result"]
    loaded = load_data_and_model(result["model_file"])
    run = prepared(data_path, align="none", metrics=metrics, topk=TOPK, valid_metric="GAUC")
    run.model.load_state_dict(loaded[1].state_dict())
    for k in TOPK:
        for name, value in by_hand(run, k).items():
            assert found["test"][name] == pytest.approx(value, abs=1e-12), name


def ranks_of(run: Prepared) -> list[tuple[list[bool], int, int]]:
    """Of each test user: which places of the ranking hit, items to be found, items ranked."""
    positive = run.test_data.uid2positive_item
    found = []
    for user, row in zip(run.test_data.evaluated_users, lists_of(run, run.dataset.item_num)):
        wanted = set(positive[user].tolist())
        found.append(([item in wanted for item in row], len(wanted), len(row)))
    return found


def test_accuracy_metrics_by_hand(data_path: Path) -> None:
    names = ["Hit", "MRR", "MAP", "Precision", "Recall", "NDCG", "GAUC"]
    run = prepared(data_path, align="none", metrics=names, topk=TOPK, valid_metric="GAUC")
    found = evaluate(run.config, run.model, run.train_data, run.test_data)
    ranks = ranks_of(run)
    for k in TOPK:
        sums: Counter[str] = Counter()
        for hits, wanted, _ in ranks:
            top = hits[:k]
            first = top.index(True) + 1 if any(top) else math.inf
            sums["hit"] += any(top)
            sums["mrr"] += 1 / first
            sums["precision"] += sum(top) / k
            sums["recall"] += sum(top) / wanted
            average = sum(sum(top[: n + 1]) / (n + 1) for n, hit in enumerate(top) if hit)
            sums["map"] += average / min(k, wanted)
            gain = sum(1 / math.log2(n + 2) for n, hit in enumerate(top) if hit)
            sums["ndcg"] += gain / sum(1 / math.log2(n + 2) for n in range(min(k, wanted)))
        for name, value in sums.items():
            assert found[f"{name}@{k}"] == pytest.approx(value / len(ranks), abs=1e-9), (name, k)
    # GAUC: the share of pairs (found, other) in the right order, users by their items to be found.
    weighted = 0.0
    for hits, wanted, _ in ranks:
        others = len(hits) - wanted
        right = sum(hits[n + 1 :].count(False) for n, hit in enumerate(hits) if hit)
        weighted += wanted * right / (wanted * others)
    assert found["gauc"] == pytest.approx(weighted / sum(w for _, w, _ in ranks), abs=1e-6)


def test_value_metrics_by_hand(data_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    rng = np.random.RandomState(3)
    rows = [(u, i, rng.randint(1, 6)) for u in range(30) for i in rng.choice(20, 10, replace=False)]
    (folder / "labels.inter").write_text(
        "user_id:token\titem_id:token\trating:float\n"
        + "".join(f"u{u}\ti{i}\t{r}\n" for u, i, r in rows)
    )
    from recbole_darec.resolve import resolve
    from recbole_darec.run import prepare

    run = prepare(
        resolve(
            "NeuMF", "labels", None,
            {
                "data_path": str(tmp_path), "align": "none",
                "metrics": ["AUC", "LogLoss", "MAE", "RMSE"], "valid_metric": "AUC",
                "threshold": {"rating": 3}, "train_neg_sample_args": None,
                "load_col": {"inter": ["user_id", "item_id", "rating"]},
                "eval_args": {"split": {"RS": [6, 2, 2]}, "mode": "labeled"},
            },
        )
    )  # fmt: skip
    found = evaluate(run.config, run.model, run.train_data, run.test_data)
    part = run.test_data._dataset.inter_feat
    with torch.no_grad():
        scores = run.model.eval().predict(part.to(run.config["device"])).numpy().astype(float)
    tokens = [run.dataset.field2id_token[f] for f in ("user_id", "item_id")]
    liked = {(f"u{u}", f"i{i}"): r >= 3 for u, i, r in rows}
    users, items = part["user_id"].numpy(), part["item_id"].numpy()
    labels = [liked[tokens[0][u], tokens[1][i]] for u, i in zip(users, items)]
    assert 0 < sum(labels) < len(labels)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert found["logloss"] == pytest.approx(log_loss(labels, scores), abs=1e-6)
    assert found["mae"] == pytest.approx(mean_absolute_error(labels, scores), abs=1e-6)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(labels, scores), abs=1e-6)


def test_labels_that_are_not_there_are_asked_for(data_path: Path) -> None:
    asked = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}}
    with pytest.raises(OptionError, match=r"mode=labeled reads the column 'label' .*LABEL_FIELD"):
        prepared(data_path, align="none", **asked)

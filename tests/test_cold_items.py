"""Items that are held out whole: from the option to the table of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_darec import evaluate_cold_items, run_recbole_darec
from recbole_darec.cli import main
from recbole_darec.cold_items import RANKERS
from recbole_darec.data.splits import held_out
from recbole_darec.errors import EmbeddingError, OptionError
from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.evaluation.cold import list_metrics
from recbole_darec.loaded import load_run
from recbole_darec.resolve import resolve
from recbole_darec.run import prepare
from recbole_darec.testing.tiny_runs import options

SHARE, SEED = 0.2, 3
COLD = {"cold_items": SHARE, "cold_items_seed": SEED}
PARTS = ("train", "valid", "test")


def pairs(data_path: Path) -> list[tuple[str, str, str]]:
    return [
        (part, *line.split("\t")[:2])
        for part in PARTS
        for line in (data_path / "tiny" / f"tiny.{part}.inter").read_text().splitlines()[1:]
    ]


def cold_tokens(data_path: Path) -> set[str]:
    items = np.array([item for _, _, item in pairs(data_path)])
    return set(items[held_out(items, SHARE, SEED)].tolist())


def given(data_path: Path, align: str = "none", **changed: Any) -> dict[str, Any]:
    found = options(data_path, align=align, **{**COLD, **changed})
    return {
        name: value
        for name, value in found.items()
        if align == "darec" or not name.startswith("align_")
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Mapping[str, Path]:
    """Checkpoints that learnt the planted blocks without the held-out items, by aligner."""
    folder = tmp_path_factory.mktemp("cold")
    make_tiny(folder / "dataset")
    found = {"": folder / "dataset"}
    for align in ("none", "rlmrec_con", "text_filter"):
        result = run_recbole_darec(
            "LightGCN",
            "tiny",
            None,
            given(
                folder / "dataset",
                align,
                epochs=10,
                learning_rate=0.05,
                checkpoint_dir=str(folder),
                eval_step=10,
            ),
        )
        found[align] = Path(result["model_file"])
    return found


# ---- what is held out ----------------------------------------------------------------------------


def test_the_model_never_sees_them(tiny_dataset: object, tmp_path: Path) -> None:
    data_path = tmp_path / "dataset"
    run = prepare(resolve("LightGCN", "tiny", None, given(data_path)))
    cold = cold_tokens(data_path)
    assert len(cold) == 8
    assert set(run.dataset.field2id_token["item_id"][1:]) == {f"i{n}" for n in range(40)} - cold
    expected = [(user, item) for _, user, item in pairs(data_path) if item in cold]
    held = run.dataset.held_out
    assert list(zip(held.users.tolist(), held.items.tolist())) == expected
    for loader, part in zip((run.train_data, run.valid_data, run.test_data), PARTS):
        data = loader._dataset
        rows = zip(
            data.id2token("user_id", data.inter_feat["user_id"]),
            data.id2token("item_id", data.inter_feat["item_id"]),
        )
        left = [(u, i) for name, u, i in pairs(data_path) if name == part and i not in cold]
        assert sorted(rows) == sorted(left)


def test_one_file_is_split_after_they_are_out(tiny_dataset: object, tmp_path: Path) -> None:
    data_path = tmp_path / "dataset"
    lines = [f"{user}\t{item}" for _, user, item in pairs(data_path)]
    (data_path / "tiny" / "tiny.inter").write_text(
        "\n".join(["user_id:token\titem_id:token", *lines]) + "\n"
    )
    (data_path / "tiny" / "tiny.item").write_text(
        "item_id:token\ttitle:token_seq\n" + "".join(f"i{n}\tThing {n}\n" for n in range(40))
    )
    one_file = {
        "benchmark_filename": None,
        "split_seed": 1,
        "load_col": {"inter": ["user_id", "item_id"], "item": ["item_id", "title"]},
    }
    run = prepare(resolve("LightGCN", "tiny", None, given(data_path, **one_file)))
    cold = cold_tokens(data_path)
    assert not set(run.dataset.field2id_token["item_id"]) & cold
    assert len(run.dataset.item_feat) == 1 + 40 - len(cold)
    assert len(run.dataset.inter_feat) + len(run.dataset.held_out.items) == len(lines)


@pytest.mark.parametrize("value", [-0.1, 1.0, "some"])
def test_a_share_is_between_0_and_1(value: object, tiny_dataset: object, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cold_items"):
        resolve("LightGCN", "tiny", None, given(tmp_path / "dataset", cold_items=value))


def test_a_sequential_model_holds_none_out(tiny_dataset: object, tmp_path: Path) -> None:
    sequential = given(tmp_path / "dataset", benchmark_filename=None)
    with pytest.raises(OptionError, match=r"cold_items=0\.2 holds items out of general models"):
        resolve("SASRec", "tiny", None, sequential)


# ---- how they are ranked -------------------------------------------------------------------------


def test_metrics_are_those_of_a_loop_over_the_users() -> None:
    class Config(dict):
        settings = None

    config = Config(
        metrics=["Recall", "NDCG", "ItemCoverage"], topk=[2, 3], metric_decimal_place=15
    )
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(6, 9)))
    users, items = np.array([1, 1, 3, 4, 4, 4]), np.array([5, 6, 7, 5, 7, 8])
    positive = UserItems(users, items, 6, 9)
    hidden = UserItems(np.array([1, 4]), np.array([2, 1]), 6, 9)
    candidates = torch.tensor([False, True, True, True, False, True, True, True, True])
    found = list_metrics(config, lambda rows: scores[rows], positive, hidden, candidates, 2)
    recall, ndcg = [], []
    for user in (1, 3, 4):
        wanted = set(items[users == user].tolist())
        out = {4, 0} | ({2} if user == 1 else {1} if user == 4 else set())
        order = sorted(set(range(9)) - out, key=lambda item: -float(scores[user, item]))[:3]
        hits = [item in wanted for item in order]
        recall.append(sum(hits) / len(wanted))
        ideal = sum(1 / np.log2(n + 2) for n in range(min(3, len(wanted))))
        ndcg.append(sum(hit / np.log2(n + 2) for n, hit in enumerate(hits)) / ideal)
    assert found["recall@3"] == pytest.approx(np.mean(recall))
    assert found["ndcg@3"] == pytest.approx(np.mean(ndcg))
    assert not any("coverage" in name for name in found)


@pytest.mark.parametrize(
    ("align", "how"),
    [
        ("none", "profile kNN"),
        ("rlmrec_con", "rlmrec_con"),
        ("text_filter", "text_filter over profile kNN"),
    ],
)
def test_the_planted_blocks_are_found_by_the_profiles(
    align: str, how: str, trained: Mapping[str, Path]
) -> None:
    found = evaluate_cold_items(trained[align])
    assert (found.how, found.items) == (how, 8)
    assert tuple(found.metrics) == RANKERS
    cold = {ranker: kinds["cold"]["recall@5"] for ranker, kinds in found.metrics.items()}
    # Four or so of the eight are of a user's block: who knows it finds nearly all with five.
    for ranker in ("model", "profile_knn", "content"):
        assert cold[ranker] > 0.9, ranker
    assert 0.5 < cold["random"] < 0.8
    assert found.metrics["popularity"]["cold_all"]["recall@5"] == 0.0
    if align == "none":
        assert found.metrics["model"] == found.metrics["profile_knn"]


def test_warm_items_rank_as_the_model_ranks_them(trained: Mapping[str, Path]) -> None:
    run = load_run(trained["none"], {}, None)
    cold = run.dataset.held_out
    # Where no held-out item comes before k, the lists are those of the model alone.
    from recbole_darec.cold_items import held_out_results
    from recbole_darec.loaded import evaluate_run

    alone = evaluate_run(run)["test"]["recall@10"]
    among_all = held_out_results(run).metrics["model"]["warm_all"]["recall@10"]
    assert len(set(cold.items)) == 8
    assert 0.0 < among_all <= alone


def test_the_command_shows_them_apart(
    trained: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(trained["rlmrec_con"])]) == 0
    warm, title, *tables = capsys.readouterr().out.split("\n\n")
    assert "valid" in warm
    cold = cold_tokens(trained[""])
    users = {user for _, user, item in pairs(trained[""]) if item in cold}
    assert title == f"8 items held out, ranked by rlmrec_con for {len(users)} users"
    assert len(tables) == 3
    for table in tables:
        assert table.splitlines()[1].split() == ["metric", *RANKERS]
        assert "ndcg@10" in table


def test_a_held_out_item_without_a_profile_is_named(
    tiny_dataset: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_path = tmp_path / "dataset"
    file = run_recbole_darec("LightGCN", "tiny", None, given(data_path, epochs=1))["model_file"]
    tokens = data_path / "tiny" / "tiny.itememb.tokens"
    gone = sorted(cold_tokens(data_path))[0]
    tokens.write_text(tokens.read_text().replace(f"{gone}\n", "other\n"))
    assert main(["evaluate", file]) == 2
    assert "1 of 8 items have no profile embedding in" in capsys.readouterr().err
    with pytest.raises(EmbeddingError, match=gone):
        evaluate_cold_items(file)


def test_a_run_that_held_none_out_has_nothing_to_show(tiny_dataset: object, tmp_path: Path) -> None:
    none = given(tmp_path / "dataset", cold_items=0.0, epochs=1)
    file = run_recbole_darec("LightGCN", "tiny", None, none)["model_file"]
    with pytest.raises(OptionError, match="held no items out"):
        evaluate_cold_items(file)

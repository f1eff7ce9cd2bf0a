"""All-rank evaluation of sequences: who is ranked for, with what history, under which mask."""

from __future__ import annotations

import math
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_darec import run_recbole_darec
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.sequential_rank import _dealt
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, train
from recbole_darec.testing.tiny_runs import options, prepared, scores
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training.watch import Watch

MASKS = ("none", "history", "history_all")
LONGEST, LONG = 4, 12  # the first cuts every list off, the second none


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sequences(tmp_path_factory.mktemp("data") / "dataset").data_path


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_of(tiny: Path, **changed: Any) -> Prepared:
    given = {"MAX_ITEM_LIST_LENGTH": LONGEST, "topk": [3], "valid_metric": "Recall@3", **changed}
    return prepared(tiny, "MarkovChain", align="none", **given)


def lists_of(tiny: Path, run: Prepared) -> dict[int, list[int]]:
    """Each user's whole list as internal ids, read from the file."""
    lists: dict[int, list[int]] = {}
    for line in (tiny / "tiny" / "tiny.inter").read_text("utf-8").splitlines()[1:]:
        user, item, _ = line.split("\t")
        ids = run.dataset
        lists.setdefault(ids.token2id("user_id", user), []).append(ids.token2id("item_id", item))
    return lists


@pytest.mark.parametrize("part", ["valid", "test"])
def test_the_history_is_what_stands_before_the_target(tiny: Path, part: str) -> None:
    run = run_of(tiny, eval_batch_users=7)
    lists, held_out = lists_of(tiny, run), 1 if part == "test" else 2
    seen = []
    loader = getattr(run, f"{part}_data")
    for batch, masked, rows, targets in loader:
        assert masked is None
        assert rows.tolist() == list(range(len(targets)))
        assert len(targets) <= 7
        for user, row, length, target in zip(
            batch["user_id"].tolist(),
            batch["item_id_list"].tolist(),
            batch["item_length"].tolist(),
            targets.tolist(),
        ):
            before = lists[user][:-held_out]
            assert row == (before[-LONGEST:] + [0] * LONGEST)[:LONGEST]
            assert length == min(len(before), LONGEST)
            assert target == lists[user][-held_out]
            seen.append(user)
    assert sorted(seen) == sorted(lists)


@pytest.mark.parametrize("mask", MASKS)
def test_metrics_are_those_of_a_loop_over_users(tiny: Path, mask: str) -> None:
    run = run_of(tiny, eval_mask=mask)
    lists, every = lists_of(tiny, run), scores(run)
    hits, gains = [], []
    for user, row in zip(run.test_data.user_df["user_id"].tolist(), every.tolist()):
        *before, target = lists[user]
        left_out = set(before) if mask != "none" else set()
        if mask == "history":
            left_out.discard(target)
        ranked = sorted(set(range(1, len(row))) - left_out, key=lambda item: -row[item])
        hit = target in ranked[:3]
        hits.append(float(hit))
        gains.append(1 / math.log2(ranked.index(target) + 2) if hit else 0.0)
    result = run_recbole_darec(
        "MarkovChain",
        "tiny",
        config_dict=options(tiny, align="none", MAX_ITEM_LIST_LENGTH=LONGEST, topk=[3],
                            valid_metric="Recall@3", eval_mask=mask),
    )["test_result"]  # fmt: skip
    assert result["recall@3"] == pytest.approx(sum(hits) / len(hits), abs=1e-12)
    assert result["ndcg@3"] == pytest.approx(sum(gains) / len(gains), abs=1e-9)


def test_a_list_that_masked_items_would_fill_up_is_refused(tiny: Path) -> None:
    with pytest.raises(OptionError, match=r"topk=\[39\].*are left to rank; lower topk"):
        run_of(tiny, eval_mask="history_all", topk=[39], valid_metric="Recall@39")


# ---- models that count -----------------------------------------------------------------------


def test_what_followed_is_counted_in_training_alone_and_popularity_breaks_ties(tiny: Path) -> None:
    run = run_of(tiny)
    lists = {user: one[:-2] for user, one in lists_of(tiny, run).items()}
    n_items = run.dataset.item_num
    popularity = torch.zeros(n_items, dtype=torch.float64)
    follows = torch.zeros(n_items, n_items, dtype=torch.float64)
    for one in lists.values():
        for item in one:
            popularity[item] += 1
        for before, after in pairwise(one):
            follows[before, after] += 1
    last = run.test_data.user_df["item_id_list"].gather(
        1, run.test_data.user_df["item_length"][:, None] - 1
    )
    expected = follows[last[:, 0]] + popularity / (popularity.sum() + 1)
    assert torch.allclose(scores(run), expected, rtol=0.0, atol=1e-12)


def test_similar_items_share_users(tiny: Path) -> None:
    run = prepared(tiny, "SequenceKNN", align="none", MAX_ITEM_LIST_LENGTH=LONGEST)
    lists = [set(one[:-2]) for one in lists_of(tiny, run).values()]
    n_items = run.dataset.item_num
    of = [{u for u, one in enumerate(lists) if item in one} for item in range(n_items)]
    rows = run.test_data.user_df["item_id_list"].tolist()
    found = scores(run)
    for row, user_scores in list(zip(rows, found.tolist()))[:5]:
        for item in range(1, n_items):
            total = sum(
                len(of[item] & of[other]) / math.sqrt(len(of[item]) * len(of[other]))
                for other in set(row) - {0, item}
                if of[item] and of[other]
            )
            assert user_scores[item] == pytest.approx(total, abs=2e-9)


@pytest.mark.parametrize("model", ["MostPopular", "MarkovChain", "SequenceKNN"])
def test_a_model_that_counts_is_validated_once(model: str, tiny: Path) -> None:
    validated: list[int] = []
    watch = Watch()
    watch.validated = lambda epoch, *_, **__: validated.append(epoch)  # type: ignore[method-assign]
    given = options(tiny, align="none", MAX_ITEM_LIST_LENGTH=LONGEST, epochs=20, eval_step=5)
    result = train(resolve(model, "tiny", None, given), watch=watch)
    assert (validated, result["best_epoch"]) == ([0], 0)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
@pytest.mark.parametrize("mask", MASKS)
def test_batches_of_like_lengths_are_what_each_user_is_asked_with(
    mask: str, model: str, tiny: Path
) -> None:
    given = {"MAX_ITEM_LIST_LENGTH": LONG, "topk": [3], "valid_metric": "Recall@3"}
    run = prepared(tiny, model, align="none", eval_mask=mask, eval_batch_users=3, **given)
    lists, n_items = lists_of(tiny, run), run.dataset.item_num
    seen: list[int] = []
    widths = []
    for batch, masked, rows, targets in run.test_data:
        sequences = batch["item_id_list"]
        widths.append(sequences.shape[1])
        hidden = torch.zeros(len(batch), n_items, dtype=torch.bool)
        if masked is not None:
            hidden[masked] = True
        for row, (user, target) in enumerate(zip(batch["user_id"].tolist(), targets.tolist())):
            *history, last = lists[user]
            known = history[-LONG:]
            assert sequences[row].tolist() == known + [0] * (widths[-1] - len(known))
            hidden_items = set() if mask == "none" else set(history)
            assert last == target
            assert set(hidden[row].nonzero().flatten().tolist()) == (
                hidden_items - {last} if mask == "history" else hidden_items
            )
        assert rows.tolist() == list(range(len(batch)))
        seen += batch["user_id"].tolist()
    assert sorted(seen) == sorted(lists)
    if run.model.reads_positions:
        # A batch of three holds neighbours in the order by length.
        lengths = [min(len(lists[user]) - 1, LONG) for user in seen]
        whole = sorted(sorted(lengths[n : n + 3]) for n in range(0, len(lengths) // 3 * 3, 3))
        assert [*chain(*whole), *lengths[len(whole) * 3 :]] == sorted(lengths)
        assert len(set(widths)) > 1
    else:
        assert set(widths) == {LONG}
    assert run.test_data.evaluated_users.tolist() == seen


@pytest.mark.parametrize("n_processes", [2, 3, 4, 7])
def test_each_of_several_processes_has_short_and_long_sequences(n_processes: int) -> None:
    order = _dealt(200)
    assert sorted(order.tolist()) == list(range(200))
    for part in np.array_split(order, n_processes):
        assert abs(part.mean() - order.mean()) < 200 * 2 / len(part)


def test_a_user_is_ranked_alike_in_any_batch(tiny: Path) -> None:
    given = {"MAX_ITEM_LIST_LENGTH": LONG, "topk": [3], "valid_metric": "Recall@3"}
    run = prepared(tiny, "SASRec", align="none", **given)
    run.model.eval()
    with torch.no_grad():
        trimmed = [run.model.full_sort_predict(batch) for batch, *_ in run.test_data]
    assert torch.allclose(torch.cat(trimmed).view(len(scores(run)), -1), scores(run), atol=1e-6)

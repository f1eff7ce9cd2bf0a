"""Batches of a sequential model: windows, negatives, and what comes again from the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data.sequences import PLACES, Sequences
from recbole_darec.errors import DataError, OptionError
from recbole_darec.run import Prepared
from recbole_darec.testing.tiny_runs import prepared
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training.sequences import Negatives, grouped_by_length, windows

QUIET: dict[str, Any] = {
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "n_heads": 1,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
    "train_batch_size": 7,
    "MAX_ITEM_LIST_LENGTH": 4,
}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_tiny_sequences(tmp_path / "dataset").data_path


def run_of(tiny: Path, **changed: Any) -> Prepared:
    return prepared(tiny, "SASRec", align="none", **{**QUIET, **changed})


def training_lists(run: Prepared) -> dict[int, list[int]]:
    part = run.train_data.dataset.inter_feat
    lists: dict[int, list[int]] = {}
    for user, item in zip(part["user_id"].tolist(), part["item_id"].tolist()):
        lists.setdefault(user, []).append(item)
    return lists


# ---- negatives -------------------------------------------------------------------------------


def test_negatives_are_uniform_over_what_each_user_lacks() -> None:
    lists = [[], [1, 2, 3], [5], [1, 1, 4, 6]]
    users = np.repeat(np.arange(4), [len(one) for one in lists])
    items = np.array([item for one in lists for item in one])
    negatives = Negatives(Sequences(users, items, 4), 7)
    generator = torch.Generator().manual_seed(0)
    n = 6000
    for user, taken in enumerate(lists):
        drawn = negatives.draw(torch.full((n,), user), generator)
        lacking = sorted(set(range(1, 7)) - set(taken))
        counts = np.bincount(drawn.numpy(), minlength=7)
        assert np.flatnonzero(counts).tolist() == lacking
        # Five deviations of a binomial count.
        share = 1 / len(lacking)
        assert (abs(counts[lacking] - n * share) < 5 * (n * share * (1 - share)) ** 0.5 + 1).all()


def test_a_user_who_has_every_item_is_refused() -> None:
    with pytest.raises(DataError, match=r"has all the 3 items in training.*rank_loss=ce"):
        Negatives(Sequences(np.array([1, 1, 1]), np.array([3, 1, 2]), 2), 4)


# ---- windows ---------------------------------------------------------------------------------


def test_windows_are_padded_behind_their_ends() -> None:
    items = torch.arange(10, 16, dtype=torch.int32)
    found = windows(items, torch.tensor([0, 4]), torch.tensor([3, 2]), 4)
    assert found.tolist() == [[10, 11, 12, 0], [14, 15, 0, 0]]
    assert found.dtype == torch.int64


@pytest.mark.parametrize(
    ("rows", "grouped"), [("positions", False), ("positions", True), ("prefixes", False)]
)
def test_an_epoch_has_every_target_once_behind_its_own_history(
    tiny: Path, rows: str, grouped: bool
) -> None:
    run = run_of(tiny, training_rows=rows, group_by_length=grouped)
    lists = training_lists(run)
    expected = sorted((user, one[end]) for user, one in lists.items() for end in range(1, len(one)))
    found = []
    for batch in run.train_data:
        sequences, lengths = batch["item_id_list"], batch["item_length"]
        targets = batch["item_id"].tolist()
        if rows == "positions":
            width = sequences.shape[1]
            at = [(int(p) // width, int(p) % width) for p in batch[PLACES]]
        else:
            at = [(row, int(length) - 1) for row, length in enumerate(lengths)]
        for (row, place), target in zip(at, targets, strict=True):
            user = int(batch["user_id"][row])
            before = sequences[row, : place + 1].tolist()
            assert 0 not in before
            text = ",".join(map(str, [*before, target])) + ","
            assert text in ",".join(map(str, lists[user])) + ","
            found.append((user, target))
    assert sorted(found) == expected
    assert len(run.train_data) == len(list(run.train_data))


@pytest.mark.parametrize("grouped", [False, True])
def test_each_epoch_draws_anew_and_a_restored_state_draws_the_same(
    tiny: Path, grouped: bool
) -> None:
    loader = run_of(tiny, group_by_length=grouped).train_data

    def epoch() -> list[torch.Tensor]:
        return [torch.cat([b["neg_item_id"], b["item_id"]]) for b in loader]

    state = loader.generator.get_state()
    first, second = epoch(), epoch()
    assert not torch.equal(torch.cat(first), torch.cat(second))
    loader.generator.set_state(state)
    assert torch.equal(torch.cat(epoch()), torch.cat(first))


# ---- rows of like lengths --------------------------------------------------------------------


@given(st.integers(1, 700), st.integers(1, 60), st.integers(0, 9))
def test_groups_are_a_permutation_in_batches_of_as_many_targets(
    n: int, step: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 21, (n,), generator=generator)
    order = torch.randperm(n, generator=generator)
    found = grouped_by_length(order, lengths, step, generator)
    assert sorted(torch.cat(found).tolist()) == list(range(n))
    # By hand: rows one after the other, by length down and up in turns, until a batch is full.
    n_batches = -(-n // step)
    share, expected, so_far = int(lengths.sum()) / n_batches, {}, 0
    for k, some in enumerate(torch.split(order, step * max(1, min(n // (4 * step), 50)))):
        sign = 1 if k % 2 else -1
        for row in sorted(some.tolist(), key=lambda row: sign * int(lengths[row])):
            expected.setdefault(int(so_far / share + 1e-9), []).append(row)
            so_far += int(lengths[row])
    assert sorted(rows.tolist() for rows in found) == sorted(expected.values())
    assert len(found) <= n_batches
    if share >= 20:  # no row fills a batch
        assert len(found) == n_batches
        targets = [int(lengths[rows].sum()) for rows in found]
        assert max(targets) < share + 20
        assert sum(size > share - 20 for size in targets) >= n_batches - 1


def test_groups_are_another_each_epoch_and_leave_little_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 21, (4000,), generator=generator)

    def padding(found: Sequence[torch.Tensor]) -> float:
        places = sum(len(rows) * int(lengths[rows].max()) for rows in found)
        return 1 - int(lengths.sum()) / places

    orders = [torch.randperm(4000, generator=generator) for _ in range(2)]
    first, second = (grouped_by_length(order, lengths, 100, generator) for order in orders)
    assert {tuple(rows.tolist()) for rows in first}.isdisjoint(
        tuple(rows.tolist()) for rows in second
    )
    assert padding(first) < 0.15
    assert padding(torch.split(orders[0], 100)) > 0.4


@pytest.mark.parametrize(
    ("model", "given_", "said"),
    [
        ("Caser", {}, "leave it out with 'Caser' and prefixes"),
        ("SASRec", {"training_rows": "prefixes"}, "leave it out with 'SASRec' and prefixes"),
        ("SASRec", {"shuffle": False}, "leave it out with shuffle=False"),
    ],
)
def test_where_nothing_is_grouped_it_is_refused(
    tiny: Path, model: str, given_: dict, said: str
) -> None:
    kept = {name: QUIET[name] for name in ("train_batch_size", "MAX_ITEM_LIST_LENGTH")}
    with pytest.raises(OptionError, match=said):
        prepared(tiny, model, align="none", group_by_length=True, **{**kept, **given_})


# ---- the loss of both kinds of rows ----------------------------------------------------------


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
@pytest.mark.parametrize("rank_loss", ["bce", "bpr", "ce"])
def test_positions_have_the_loss_of_their_prefixes(tiny: Path, model: str, rank_loss: str) -> None:
    """Without dropout, over all rows, each target with the negative that it has in the other."""
    given = {**QUIET, "train_batch_size": 1000, "MAX_ITEM_LIST_LENGTH": 20, "rank_loss": rank_loss}
    if model == "GRU4Rec":
        given = {k: v for k, v in given.items() if k in ("train_batch_size", "hidden_size",
                 "MAX_ITEM_LIST_LENGTH", "rank_loss")} | {"dropout_prob": 0.0}  # fmt: skip
    runs = {
        rows: prepared(tiny, model, align="none", training_rows=rows, shuffle=False, **given)
        for rows in ("positions", "prefixes")
    }
    batches = {rows: next(iter(run.train_data)) for rows, run in runs.items()}
    assert torch.equal(batches["positions"]["item_id"], batches["prefixes"]["item_id"])
    if rank_loss != "ce":
        batches["prefixes"].interaction["neg_item_id"] = batches["positions"]["neg_item_id"]
    losses = [
        float(run.model.train().calculate_loss(batches[rows]).detach())
        for rows, run in runs.items()
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_bpr_loss_is_stock_recboles(tiny: Path) -> None:
    from recbole.model.sequential_recommender import SASRec

    run = run_of(tiny, rank_loss="bpr", training_rows="prefixes")
    stock = SASRec(run.config, run.train_data.dataset)
    stock.load_state_dict(run.model.state_dict())
    batch = next(iter(run.train_data))
    run.model.train()
    stock.train()
    ours, theirs = run.model.calculate_loss(batch), stock.calculate_loss(batch)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)

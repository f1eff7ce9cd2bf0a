"""Large tables: steps in blocks and an optimiser's state in a file leave every number as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import embedding

from recbole_darec.resolve import resolve
from recbole_darec.run import make_trainer, prepare
from recbole_darec.testing.tiny_runs import options
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training import blocks, set_aside
from recbole_darec.training.blocks import in_blocks

LEARNERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.1),
    "adam with decay": lambda groups: torch.optim.Adam(groups, lr=0.1, weight_decay=0.1),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=0.1),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.1),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.1),
}


def made(blocked: bool, learner: str) -> tuple[Tensor, Tensor, Any]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(11, 4, generator=generator).requires_grad_()
    weight = torch.randn(4, 4, generator=generator).requires_grad_()
    groups = [{"params": [weight, table]}]
    tables = [table] if blocked else []
    return table, weight, in_blocks(LEARNERS[learner], groups, tables)


def stepped(table: Tensor, weight: Tensor, optimizer: Any, steps: range, sparse: bool) -> None:
    for number in steps:
        generator = torch.Generator().manual_seed(number)
        ids = torch.randperm(11, generator=generator)[:3]
        rows = embedding(ids, table, sparse=True) if sparse else table[ids]
        optimizer.zero_grad()
        (rows @ weight).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_table_in_blocks_gets_the_same_numbers(
    learner: str, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_BLOCK_NUMBERS", 12)
    whole, in_parts = made(False, learner), made(True, learner)
    stepped(*whole, range(5), False)
    stepped(*in_parts, range(3), sparse)
    # Its state goes on in another optimiser, as that of a run that is resumed does.
    table, weight, _ = in_parts
    again = in_blocks(LEARNERS[learner], [{"params": [weight, table]}], [table])
    again.load_state_dict(in_parts[2].state_dict())
    stepped(table, weight, again, range(3, 5), sparse)
    assert torch.equal(table, whole[0])
    assert torch.equal(weight, whole[1])


def test_the_state_is_in_no_memory_while_it_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_aside, "_FROM_BYTES", 0)
    table, weight, optimizer = made(True, "adam")
    stepped(table, weight, optimizer, range(2), True)
    before = [dict(state) for state in optimizer.state.values()]

    def interrupted() -> None:
        with set_aside.set_aside(optimizer, tmp_path):
            assert all(state["exp_avg"] is None for state in optimizer.state.values())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    for state, kept in zip(optimizer.state.values(), before):
        assert state.keys() == kept.keys()
        assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_a_state_that_cannot_be_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(set_aside, "_FROM_BYTES", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    table, weight, optimizer = made(False, "adam")
    stepped(table, weight, optimizer, range(1), False)
    with set_aside.set_aside(optimizer, tmp_path):
        assert all(isinstance(state["exp_avg"], Tensor) for state in optimizer.state.values())


@pytest.mark.parametrize("rank_loss", ["bce", "ce"])
def test_a_run_over_large_tables_is_the_run_over_small_ones(
    rank_loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_tiny_sequences(tmp_path / "dataset").data_path
    small = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "train_batch_size": 12}
    given = {"align": "pad", "gate_buckets": 4, "epochs": 2, "rank_loss": rank_loss, **small}

    def outcome() -> tuple[list[Tensor], Any, Any]:
        run = prepare(resolve("SASRec", "tiny", None, options(data, **given)))
        trainer = make_trainer(run)
        score, _ = trainer.fit(run.train_data, run.valid_data, verbose=False)
        return list(run.model.state_dict().values()), score, trainer

    whole, score, plain = outcome()
    monkeypatch.setattr(blocks, "_LARGE_BYTES", 0)
    monkeypatch.setattr(blocks, "_BLOCK_NUMBERS", 64)
    monkeypatch.setattr(set_aside, "_FROM_BYTES", 0)
    in_parts, again, blocked = outcome()
    assert not hasattr(plain.optimizer, "tables")
    assert len(blocked.optimizer.tables) == 2
    assert blocked.model.sparse_gradients == (rank_loss == "bce")
    assert score == again
    assert all(torch.equal(*pair) for pair in zip(whole, in_parts))

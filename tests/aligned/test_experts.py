"""Experts over a sequential backbone: what they read, train and rank with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_darec.aligned import profile_rows
from recbole_darec.alignment.contract import ExpertStep
from recbole_darec.alignment.equations import gate_weights
from recbole_darec.alignment.make import MAKE
from recbole_darec.alignment.phases import Phase
from recbole_darec.alignment.registry import ALIGNERS
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare
from recbole_darec.testing.tiny_runs import one_batch, options, scores
from recbole_darec.testing.tiny_sequences import write_tiny_sequences

STILL: dict[str, Any] = {
    "hidden_size": 8,
    "inner_size": 8,
    "train_batch_size": 16,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
}
METHODS = ["pad", "smem", "hybrid", "morec", "ctrl", "make", "disco"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sequences(tmp_path_factory.mktemp("data") / "dataset").data_path


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_of(tiny: Path, align: str, model: str = "SASRec", **changed: Any) -> Prepared:
    still = STILL if model == "SASRec" else {"train_batch_size": 16}
    given = {**options(tiny, align=align), **still, **changed}
    return prepare(resolve(model, "tiny", None, given))


@pytest.mark.parametrize("rank_loss", ["bce", "bpr", "ce"])
def test_the_first_phase_is_the_backbone_by_itself(tiny: Path, rank_loss: str) -> None:
    pad, plain = (run_of(tiny, align, rank_loss=rank_loss) for align in ("pad", "none"))
    weights = plain.model.state_dict()
    own = {k: v for k, v in pad.model.state_dict().items() if k in weights}
    plain.model.load_state_dict(own)
    pad.model.enter_phase(0, copying=True)
    batch = one_batch(plain)
    losses = [run.model.train().calculate_loss(batch) for run in (pad, plain)]
    found, expected = (part[0] if isinstance(part, tuple) else part for part in losses)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert torch.allclose(scores(pad)[:, 1:], scores(plain)[:, 1:], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_the_folded_table_ranks_as_the_mixed_scores(tiny: Path, model: str) -> None:
    run = run_of(tiny, "pad", model, expert_gate="network", gate_buckets=4)
    expert_model, gate = run.model.eval(), run.model.aligner.modules["gate"]
    with torch.no_grad():
        gate.slopes.normal_()
        users = run.test_data.user_df
        names = ["id", "align", "llm"]
        made = expert_model._made(torch.arange(expert_model.n_items), names)
        rows = made.rows
        logits = gate.logits[gate.items] + torch.stack(
            [rows[name] @ gate.slopes[k] for k, name in enumerate(names)], 1
        )
        weights, expected = gate_weights(logits), 0.0
        for k, name in enumerate(names):
            encoded = expert_model._encoded(users, made.paddings, {name: rows[name]})
            expected = expected + weights[:, k] * (encoded @ rows[name].t())
    assert torch.allclose(scores(run)[:, 1:], expected, rtol=1e-4, atol=1e-5)


def test_each_phase_trains_what_it_says_and_nothing_else(tiny: Path) -> None:
    run = run_of(tiny, "pad")
    model = run.model
    expected = {
        0: {"id"},
        1: {"align", "project_align", "fuse"},
        2: {"id", "align", "llm", "project_align", "project_llm", "fuse", "gate"},
    }
    for number, wanted in expected.items():
        model.enter_phase(number, copying=True)
        model.zero_grad()
        torch.stack(model.train().calculate_loss(one_batch(run))).sum().backward()
        moved = {model._owner(name) for name, p in model.named_parameters() if p.grad is not None}
        assert moved == wanted
        assert model.loss_names == (("mmd", "base") if number == 1 else ("base",))


def test_the_aligned_expert_starts_from_the_first(tiny: Path) -> None:
    model = run_of(tiny, "pad").model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    model.enter_phase(1, copying=True)
    for name, parameter in model.experts["align"].named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[name])


def test_a_frozen_table_gets_no_gradient(tiny: Path) -> None:
    run = run_of(tiny, "pad", pad_anchor="frozen")
    run.model.enter_phase(1, copying=True)
    torch.stack(run.model.train().calculate_loss(one_batch(run))).sum().backward()
    assert run.model._table("align").grad is None
    assert run.model.aligner.modules["project_align"][0].weight.grad is not None


@pytest.mark.parametrize("align", METHODS)
def test_no_padding_and_no_item_beside_the_steps_is_read(tiny: Path, align: str) -> None:
    """A step over the whole table and one over its distinct items have one loss."""
    run = run_of(tiny, align, expert_dropout=0.0)
    model, batch = run.model, one_batch(run)
    found = torch.stack(model.eval().calculate_loss(batch)).sum()
    seen = torch.cat([batch[n].flatten() for n in ("item_id_list", "item_id", "neg_item_id")])
    others = [i for i in range(1, model.n_items) if i not in seen.tolist()]
    with torch.no_grad():
        for expert in model._experts:
            if expert.has_table:
                model._table(expert.name)[others] += 5.0
    again = torch.stack(model.calculate_loss(batch)).sum()
    assert float(found.detach()) == float(again.detach())


@pytest.mark.parametrize(
    ("align", "phase", "term"),
    [("pad", 1, "mmd"), ("ctrl", 0, "contrast"), ("disco", 0, "disentangle")],
)
def test_a_softmax_over_all_items_leaves_the_aligner_those_of_the_step(
    tiny: Path, align: str, phase: int, term: str
) -> None:
    run = run_of(tiny, align, rank_loss="ce", expert_dropout=0.0, train_batch_size=2)
    model, batch = run.model.eval(), one_batch(run)
    model.enter_phase(phase, copying=True)

    def found() -> float:
        losses = model.calculate_loss(batch)
        return float(losses[model.loss_names.index(term)].detach())

    before = found()
    seen = torch.cat([batch["item_id_list"].flatten(), batch["item_id"]]).tolist()
    others = [i for i in range(1, model.n_items) if i not in seen]
    assert others
    with torch.no_grad():
        for expert in model._experts:
            model._table(expert.name)[others if expert.has_table else []] += 5.0
    assert found() == before


def test_the_ranking_loss_of_other_rows_is_that_of_an_expert_with_them(tiny: Path) -> None:
    run = run_of(tiny, "disco", expert_dropout=0.0)
    model, batch = run.model.eval(), one_batch(run)
    found = {}

    def losses(step: ExpertStep) -> dict[str, torch.Tensor]:
        found["same"] = step.ranked("fused", step.rows["fused"])
        found["constant"] = step.ranked("fused", torch.zeros_like(step.rows["fused"]))
        return {}

    model.aligner.expert_losses = losses
    (base,) = model.calculate_loss(batch)
    assert float(found["same"].detach()) == float(base.detach())
    # Of scores that are all 0: log 2 for the targets and for the negatives.
    assert float(found["constant"].detach()) == pytest.approx(2 * math.log(2))


class FrozenTable(MAKE):
    """Its first phase is to train a table, and freezes it."""

    @classmethod
    def phases(cls, options: Any) -> tuple[Phase, ...]:
        return Phase("first", ("id",), ("table",), freezes_tables=True), Phase("both")


def test_a_phase_that_trains_nothing_is_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALIGNERS, "frozen", f"{__name__}:FrozenTable")
    with pytest.raises(OptionError, match="phase 'first' is to train table, and its tables are f"):
        run_of(tiny, "frozen", gate_buckets=4)


def test_rows_that_stay_in_their_file_are_the_same_rows(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_of(tiny, "pad", gate_buckets=4)
    monkeypatch.setattr(profile_rows, "_MAPPED_FROM", 0)
    mapped = run_of(tiny, "pad", gate_buckets=4)
    assert isinstance(mapped.model.profile_rows, profile_rows.RowsInFile)
    assert mapped.model.profile_rows.shape == whole.model.profile_rows.shape
    # The file is not in the order of the ids, which is that of the interactions.
    tokens = whole.dataset.field2id_token["item_id"][1:].tolist()
    assert tokens != (tiny / "tiny" / "tiny.itememb.tokens").read_text("utf-8").split()
    for number in range(3):
        losses = []
        for run in (whole, mapped):
            torch.manual_seed(number)
            run.model.enter_phase(number, copying=True)
            losses.append(torch.stack(run.model.train().calculate_loss(one_batch(run))))
        assert torch.equal(*losses)
    assert torch.equal(scores(whole), scores(mapped))
    for changed in ({"profile_control": "shuffle"}, {"align": "rlmrec_con", "gate_buckets": None}):
        given = {"align": "pad", "gate_buckets": 4, **changed}
        other = run_of(tiny, **{name: value for name, value in given.items() if value is not None})
        assert isinstance(other.model.profile_rows, torch.Tensor)


def test_what_cannot_be_is_answered_in_one_line(tiny: Path) -> None:
    with pytest.raises(OptionError, match="every expert is left out"):
        run_of(tiny, "pad", pad_experts=[])
    with pytest.raises(OptionError, match="gate_buckets=100: only"):
        run_of(tiny, "pad", gate_buckets=100)
    with pytest.raises(OptionError, match=r"phase_epochs=\[5\]: there are 3 phases \(pretrain, al"):
        run_of(tiny, "pad", phase_epochs=5)
    with pytest.raises(OptionError, match="pad_gamma"):
        run_of(tiny, "pad", pad_gamma=-0.1)
    with pytest.raises(OptionError, match=r"reads none: take SASRec"):
        run_of(tiny, "pad", "BPR")

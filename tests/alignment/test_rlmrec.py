"""RLMRec-Con and RLMRec-Gen against loops over the released code's definitions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from alignment.equations import naive
from recbole_darec.alignment import rlmrec_con
from recbole_darec.alignment.contract import TrainingStep, Widths
from recbole_darec.alignment.rlmrec_con import RLMRecCon, RLMRecConOptions
from recbole_darec.alignment.rlmrec_gen import RLMRecGen, RLMRecGenOptions
from recbole_darec.numerics import info_nce
from recbole_darec.testing.aligner_contract import (
    N_ITEMS,
    N_USERS,
    embeddings,
    planted_step,
    take_step,
)

N = N_USERS + N_ITEMS


def con(**changed: Any) -> RLMRecCon:
    torch.manual_seed(0)
    method = RLMRecCon(RLMRecConOptions(**changed), Widths(8, 8, 12))
    method.modules.double()
    return method


def gen(**changed: Any) -> RLMRecGen:
    torch.manual_seed(0)
    return RLMRecGen(RLMRecGenOptions(**changed), Widths(8, 6, 12))


def repeating_step() -> TrainingStep:
    """A batch in which ids stand several times, positive items among the negative ones."""
    step = planted_step(embeddings().detach().double().requires_grad_())
    return dataclasses.replace(
        step,
        profiles=step.profiles.double(),
        batch={
            "user": torch.tensor([3, 3, 7, 1, 3]),
            "item": torch.tensor([31, 40, 31, 33, 49]),
            "neg_item": torch.tensor([40, 40, 35, 30, 31]),
        },
    )


def contrast_of_loop(
    anchors: naive.Rows, positives: naive.Rows, candidates: naive.Rows, temperature: float
) -> float:
    total = 0.0
    for anchor, positive in zip(anchors, positives):
        spread = math.fsum(math.exp(naive.cosine(anchor, c) / temperature) for c in candidates)
        total -= math.log(math.exp(naive.cosine(anchor, positive) / temperature) / spread)
    return total


@pytest.mark.parametrize("negatives", ["batch", "all"])
def test_con_is_the_loop_of_equation_18(negatives: str) -> None:
    step, method = repeating_step(), con(kd_weight=0.3, kd_temperature=0.4, negatives=negatives)
    projected = method.modules(step.profiles).tolist()
    rows = step.collaborative.tolist()
    expected = 0.0
    for role, ids in step.batch.items():
        of_role = [projected[n] for n in ids.tolist()]
        everybody = role == "user" and negatives == "all"
        candidates = projected[:N_USERS] if everybody else of_role
        anchors = [rows[n] for n in ids.tolist()]
        expected += contrast_of_loop(anchors, of_role, candidates, 0.4) / len(ids)
    losses = method.losses(step)
    assert list(losses) == ["kd"]
    assert losses["kd"].item() == pytest.approx(0.3 * expected, rel=1e-12)


@pytest.mark.parametrize("negatives", ["batch", "all"])
def test_the_gradient_of_con_is_that_of_finite_differences(negatives: str) -> None:
    step, method = repeating_step(), con(kd_weight=1.0, negatives=negatives)

    def loss(table: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return method.losses(dataclasses.replace(step, collaborative=table))["kd"]

    weights = tuple(method.modules.parameters())
    assert torch.autograd.gradcheck(loss, (step.collaborative, *weights))


def test_users_projected_in_blocks_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    step, found = repeating_step(), []
    for block in (N_USERS, 7):
        monkeypatch.setattr(rlmrec_con, "_BLOCK", block)
        method = con(negatives="all")
        method.losses(step)["kd"].backward()
        found.append([p.grad for p in method.modules.parameters()])
    for whole, blocked in zip(*found):
        torch.testing.assert_close(whole, blocked, rtol=1e-12, atol=1e-15)


def test_con_projects_a_row_once_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    step, method = repeating_step(), con()
    seen: list[torch.Tensor] = []
    method.modules.register_forward_hook(lambda _module, args, _out: seen.append(args[0]))
    method.losses(step)
    (rows,) = seen
    distinct = {int(n) for ids in step.batch.values() for n in ids}
    assert sorted(rows.tolist()) == sorted(step.profiles[sorted(distinct)].tolist())


def test_con_takes_a_batch_without_negatives_and_with_all_items() -> None:
    step, method = repeating_step(), con(kd_weight=1.0)
    step = dataclasses.replace(
        step, batch={"user": torch.tensor([2, 5]), "item": torch.arange(N_USERS, N)}
    )
    assert bool(method.losses(step)["kd"].isfinite())


def test_a_sample_of_the_batch_is_what_is_aligned() -> None:
    step, method = planted_step(embeddings().detach().requires_grad_()), con(kd_sample=4)
    method.modules.float()
    method.losses(step)["kd"].backward()
    moved = (step.collaborative.grad != 0).any(1)
    assert int(moved[:N_USERS].sum()) == 4
    assert 4 <= int(moved[N_USERS:].sum()) <= 8  # positive and negative items
    whole = con(kd_sample=10)
    whole.modules.float()
    everything = con(kd_sample="all")
    everything.modules.float()
    assert whole.losses(step)["kd"].item() == everything.losses(step)["kd"].item()


def test_the_projection_may_have_other_hidden_layers() -> None:
    shapes = [tuple(p.shape) for p in con(kd_hidden=[]).modules.parameters()]
    assert shapes == [(8, 12), (8,)]


def test_the_hidden_layer_is_halfway() -> None:
    assert [p.shape[0] for p in con().modules.parameters()] == [10, 10, 8, 8]
    decoder = gen().modules["decoder"]
    assert [tuple(p.shape) for p in decoder.parameters()] == [(10, 8), (10,), (12, 10), (12,)]


def test_gen_puts_the_token_in_place_of_a_share_of_the_rows() -> None:
    method, step = gen(mask_ratio=0.3), planted_step(embeddings())
    ego = torch.randn(N, 6)
    altered = method.alter_ego(ego, step.kinds)
    (token,) = method.modules["token"]
    masked = (altered != ego).any(1)
    assert int(masked.sum()) == int(0.3 * N)
    assert bool((altered[masked] == token).all())
    again = (method.alter_ego(ego, step.kinds) != ego).any(1)
    assert not torch.equal(masked, again)


def test_at_least_one_row_is_masked() -> None:
    ego = torch.randn(N, 6)
    method = gen(mask_ratio=1e-9)
    assert int((method.alter_ego(ego, {}) != ego).any(1).sum()) == 1


def test_gen_is_the_loop_of_equation_18_over_the_masked_rows() -> None:
    method = gen(mask_ratio=0.3, kd_weight=0.7, kd_temperature=0.4)
    step = planted_step(embeddings())
    ego = torch.randn(N, 6)
    masked = (method.alter_ego(ego, step.kinds) != ego).any(1).nonzero().squeeze(1)
    rebuilt = method.modules["decoder"](step.collaborative[masked]).tolist()
    wanted = step.profiles[masked].float().tolist()
    expected = contrast_of_loop(rebuilt, wanted, wanted, 0.4) / len(masked)
    assert method.losses(step)["kd"].item() == pytest.approx(0.7 * expected, rel=1e-5)


def test_the_gradient_of_gen_is_that_of_finite_differences() -> None:
    method, step = gen(mask_ratio=0.1, kd_weight=1.0), planted_step(embeddings())
    method.modules.double()
    ego = torch.randn(N, 6, dtype=torch.float64, requires_grad=True)
    # A propagation, from the ego embeddings' width to the final one's.
    spread = torch.randn(N, N, dtype=torch.float64) / N, torch.randn(6, 8, dtype=torch.float64)

    def loss(ego: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)  # the same mask in each call
        final = spread[0] @ method.alter_ego(ego, step.kinds) @ spread[1]
        parts = dataclasses.replace(step, collaborative=final, profiles=step.profiles.double())
        return method.losses(parts)["kd"]

    assert torch.autograd.gradcheck(loss, (ego, *method.modules.parameters()))


@pytest.mark.parametrize("method", [con(kd_weight=0.0), gen(kd_weight=0.0)])
def test_a_weight_of_zero_computes_nothing(method: Any) -> None:
    assert take_step(method, embeddings()[:, :6]) == {}


def test_frozen_candidates_get_no_gradient_and_the_anchors_the_same() -> None:
    anchors = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    candidates = torch.randn(9, 5, dtype=torch.float64)
    found = []
    for frozen in (True, False):
        others = candidates.clone().requires_grad_(not frozen)
        total = info_nce(anchors, others, others, 0.3)
        found.append(torch.autograd.grad(total, anchors)[0])
    assert torch.equal(*found)

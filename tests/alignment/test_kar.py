"""KAR's mixture of experts against a loop, and what it does to the representation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recbole_darec.alignment.contract import Widths
from recbole_darec.alignment.experts import ExpertMixture
from recbole_darec.alignment.kar import KAR, KAROptions
from recbole_darec.testing.aligner_contract import N_USERS, embeddings, planted_step


def kar(**changed: Any) -> KAR:
    torch.manual_seed(0)
    return KAR(KAROptions(**changed), Widths(8, 8, 12, ("user", "item")))


def mixed_by_loop(mixture: ExpertMixture, profile: torch.Tensor, kind: str) -> torch.Tensor:
    own = mixture.own[kind]
    assert isinstance(own, nn.ModuleList)
    experts = [*mixture.shared, *own]
    weights = mixture.gates[kind](profile).exp()
    total = torch.zeros(8)
    for weight, expert in zip(weights, experts):
        total = total + weight / weights.sum() * expert(profile)
    return total


@pytest.mark.parametrize("hidden", [None, [], [5, 4]])
@pytest.mark.parametrize("n_own", [0, 3])
def test_each_row_is_the_gated_sum_of_its_kinds_experts(hidden: Any, n_own: int) -> None:
    method = kar(kar_hidden=hidden, kar_own_experts=n_own)
    step = planted_step(embeddings())
    found = method.alter_final(step.collaborative, step.profiles, step.kinds)
    for row in range(len(found)):
        kind = "user" if row < N_USERS else "item"
        expected = mixed_by_loop(method.modules, step.profiles[row].float(), kind)
        torch.testing.assert_close(found[row] - step.collaborative[row], expected)


def test_concatenation_keeps_the_embedding_and_doubles_the_width() -> None:
    step = planted_step(embeddings())
    added = kar().alter_final(step.collaborative, step.profiles, step.kinds)
    joined = kar(kar_fusion="concat").alter_final(step.collaborative, step.profiles, step.kinds)
    assert torch.equal(joined[:, :8], step.collaborative)
    torch.testing.assert_close(joined[:, 8:], added - step.collaborative)


@pytest.mark.parametrize("fusion", ["add", "concat"])
def test_the_gradient_is_that_of_finite_differences(fusion: str) -> None:
    method, step = kar(kar_fusion=fusion, kar_hidden=[3]), planted_step(embeddings())
    method.modules.double()
    batch = {role: ids[:3] for role, ids in step.batch.items()}

    def rank(table: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        rows = method.alter_final(table, step.profiles, step.kinds)
        user, item, other = (rows[batch[role]] for role in ("user", "item", "neg_item"))
        return nn.functional.softplus((user * (other - item)).sum(-1)).mean()

    table = embeddings().detach().double().requires_grad_()
    assert torch.autograd.gradcheck(rank, (table, *method.modules.parameters()))


def test_both_sides_share_only_the_shared_experts() -> None:
    method, step = kar(), planted_step(embeddings())
    rows = method.alter_final(step.collaborative, step.profiles, step.kinds)
    rows[:N_USERS].square().sum().backward()
    moved = {name for name, p in method.modules.named_parameters() if bool((p.grad != 0).any())}
    everything = {name for name, _ in method.modules.named_parameters()}
    assert everything - moved == {
        name for name in everything if name.startswith(("own.item", "gates.item"))
    }


def test_the_defaults_have_two_experts_of_each_sort() -> None:
    mixture = kar().modules
    assert len(mixture.shared) == 2
    assert {kind: len(experts) for kind, experts in mixture.own.items()} == {"user": 2, "item": 2}
    assert mixture.gates["user"][0].weight.shape == (4, 12)

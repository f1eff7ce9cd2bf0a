"""The relational aligner's choices, on tensors alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_darec.alignment.contract import TrainingStep, Widths
from recbole_darec.alignment.equations import principal_rows, relation_matching
from recbole_darec.alignment.relational import Relational, RelationalOptions
from recbole_darec.alignment.relational_con import RelationalCon, RelationalConOptions
from recbole_darec.alignment.rlmrec_con import RLMRecCon, RLMRecConOptions
from recbole_darec.numerics import NeighbourMean
from recbole_darec.testing.aligner_contract import N_ITEMS, N_USERS, embeddings, planted_step

N = N_USERS + N_ITEMS


def aligner(**changed: Any) -> Relational:
    return Relational(RelationalOptions(**changed), Widths(8, 8, 12))


def test_an_embedding_gets_the_mean_of_its_profile_neighbours() -> None:
    step = planted_step(embeddings())
    kinds = list(step.kinds.values())
    method = aligner(neighbour_weight=0.7, n_neighbours=3, relation_width=12)
    found = method.alter_final(step.collaborative, step.profiles, step.kinds)
    targets = torch.cat([principal_rows(step.profiles[kind], 12) for kind in kinds])
    mean = NeighbourMean.of(targets, kinds, 3)
    torch.testing.assert_close(found, step.collaborative + 0.7 * mean(step.collaborative))
    # The planted profiles say which of two blocks a row belongs to: so do its neighbours.
    for row, near in enumerate(mean.matrix.to_dense()):
        assert {int(n) % 2 for n in near.nonzero()} == {row % 2}


def test_a_sample_of_everything_is_the_matching_of_each_kind() -> None:
    step = planted_step(embeddings())
    method = aligner(relation_weight=2.0, relation_sample=N, relation_width=4)
    losses = method.losses(step)
    expected = sum(
        relation_matching(
            step.collaborative[kind],
            principal_rows(step.profiles[kind], 4),
            temperature=0.5,
            target_temperature=0.1,
        )
        for kind in step.kinds.values()
    )
    assert list(losses) == ["rel"]
    assert losses["rel"].item() == pytest.approx(2.0 * expected.item(), rel=1e-5)


def test_a_sample_reads_no_more_rows_than_it_may() -> None:
    table = embeddings()
    aligner(relation_weight=1.0, relation_sample=4).losses(planted_step(table))["rel"].backward()
    moved = (table.grad != 0).any(1)
    assert int(moved[:N_USERS].sum()) == 4
    assert int(moved[N_USERS:].sum()) == 4


def test_what_has_no_weight_is_left_out() -> None:
    step = planted_step(embeddings())
    method = aligner(neighbour_weight=0.0)
    assert method.losses(step) == {}
    assert method.alter_final(step.collaborative, step.profiles, step.kinds) is step.collaborative
    assert method.modules is None


def test_matched_relations_tell_the_planted_blocks_apart() -> None:
    table = embeddings()
    method = aligner(relation_weight=1.0, neighbour_weight=0.0)
    optimizer = torch.optim.Adam([table], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        method.losses(planted_step(table))["rel"].backward()
        optimizer.step()
    users = torch.nn.functional.normalize(table.detach()[:N_USERS])
    cosines = users @ users.T
    same = (torch.arange(N_USERS).unsqueeze(0) - torch.arange(N_USERS).unsqueeze(1)) % 2 == 0
    apart = ~same
    same.fill_diagonal_(False)
    assert cosines[same].mean() > cosines[apart].mean() + 0.5


def test_relational_con_is_both_of_its_parts() -> None:
    step = planted_step(embeddings())
    options = RelationalConOptions(neighbour_weight=0.7, n_neighbours=3, kd_weight=0.5)
    torch.manual_seed(1)
    method = RelationalCon(options, Widths(8, 8, 12))
    torch.manual_seed(1)
    con = RLMRecCon(RLMRecConOptions(kd_weight=0.5), Widths(8, 8, 12))
    neighbours = aligner(neighbour_weight=0.7, n_neighbours=3)
    assert method.losses(step)["kd"].item() == con.losses(step)["kd"].item()
    tables = [
        one.alter_final(step.collaborative, step.profiles, step.kinds)
        for one in (method, neighbours)
    ]
    assert torch.equal(*tables)
    assert not torch.equal(tables[0], step.collaborative)


def test_kinds_of_few_rows_work() -> None:
    profiles = torch.randn(3, 12)
    step = TrainingStep(
        collaborative=torch.randn(3, 8, requires_grad=True),
        profiles=profiles,
        kinds={"user": slice(0, 1), "item": slice(1, 3)},
        batch={"user": torch.tensor([0]), "item": torch.tensor([1])},
    )
    method = aligner(relation_weight=0.1)
    assert method.alter_final(step.collaborative, profiles, step.kinds).isfinite().all()
    loss = method.losses(step)["rel"]
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(step.collaborative.grad.isfinite().all())

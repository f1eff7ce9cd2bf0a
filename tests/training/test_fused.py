"""Adam in one pass takes the steps that it takes in several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_runs import prepared

from recbole_darec.run import make_trainer
from recbole_darec.testing import TinyDataset
from recbole_darec.training.fused import fuse_adam


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_the_steps_are_the_same(kind: Any, weight_decay: float) -> None:
    starts = [torch.randn(7, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)]
    gradients = [[torch.randn_like(p) for p in starts] for _ in range(20)]
    found = []
    for fused in (False, True):
        parameters = [p.clone().requires_grad_() for p in starts]
        groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.05}]
        optimizer = kind(groups, lr=0.01, weight_decay=weight_decay)
        if fused:
            fuse_adam(optimizer)
        for step in gradients:
            for parameter, gradient in zip(parameters, step):
                parameter.grad = gradient.clone()
            optimizer.step()
        found.append([p.detach() for p in parameters])
    assert [group["fused"] for group in optimizer.param_groups] == [True, True]
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_another_optimiser_stays() -> None:
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)
    before = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    fuse_adam(optimizer)
    after = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    assert before == after


def test_parameters_elsewhere_stay() -> None:
    optimizer = torch.optim.Adam([torch.zeros(2, requires_grad=True, device="meta")], lr=0.1)
    fuse_adam(optimizer)
    assert not optimizer.param_groups[0]["fused"]


def test_the_trainers_adam_steps_in_one_pass(tiny_dataset: TinyDataset) -> None:
    trainer = make_trainer(prepared(tiny_dataset.data_path, "LightGCN"))
    assert {group["fused"] for group in trainer.optimizer.param_groups} == {True}

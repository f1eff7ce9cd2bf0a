"""Equation (1): the fused encoders are the two MLPs that they are made of."""

from __future__ import annotations

import pytest
import torch

from recbole_darec.alignment.projection import TwinProjection


@pytest.mark.parametrize("hidden", [[], [7], [9, 5]])
def test_is_both_mlps_applied_to_the_same_rows(hidden: list[int]) -> None:
    torch.manual_seed(0)
    encoders = TwinProjection(12, hidden, 4).double()
    rows = torch.randn(6, 12, dtype=torch.float64, requires_grad=True)
    shared, specific = encoders(rows)
    torch.testing.assert_close(shared, encoders.shared(rows))
    torch.testing.assert_close(specific, encoders.specific(rows))
    fused = torch.autograd.grad((shared * 2 + specific).sum(), [rows, *encoders.parameters()])
    plain = torch.autograd.grad(
        (encoders.shared(rows) * 2 + encoders.specific(rows)).sum(), [rows, *encoders.parameters()]
    )
    for one, other in zip(fused, plain):
        torch.testing.assert_close(one, other)


def test_the_two_parts_have_parameters_of_their_own() -> None:
    encoders = TwinProjection(3, [4], 2)
    rows = torch.ones(2, 3)
    grads = torch.autograd.grad(
        encoders(rows)[0].sum(), list(encoders.specific.parameters()), allow_unused=True
    )
    assert all(g is None or not g.any() for g in grads)

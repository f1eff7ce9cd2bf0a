from __future__ import annotations

import pytest
import torch
from hypothesis import given

from recbole_darec.alignment.equations import orthogonality

from . import naive
from .samples import assert_finite_with_gradient, pairs_of_matrices


@given(pairs_of_matrices(same_width=True))
def test_equals_the_loop_and_is_finite_with_gradient(
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    specific, shared = (rows.requires_grad_() for rows in pair)
    value = orthogonality(specific, shared)
    expected = naive.orthogonality(specific.tolist(), shared.tolist())
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-14)
    assert 0.0 <= value.item() <= 1.0 + 1e-12
    assert_finite_with_gradient(value, specific, shared)


def test_gradient_is_that_of_finite_differences() -> None:
    specific = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    shared = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(orthogonality, (specific, shared))


def test_known_values() -> None:
    axes = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert orthogonality(axes, axes.flip(1)).item() == 0.0
    assert orthogonality(axes, -5 * axes).item() == pytest.approx(1.0)
    assert orthogonality(axes, torch.ones(2, 2)).item() == pytest.approx(0.5)
    assert orthogonality(torch.empty(0, 2), torch.empty(0, 2)).item() == 0.0


def test_a_zero_row_gets_no_gradient_and_counts_as_orthogonal() -> None:
    specific = torch.tensor([[0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    shared = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value = orthogonality(specific, shared)
    value.backward()
    assert value.item() == pytest.approx(0.25)
    assert specific.grad is not None
    assert shared.grad is not None
    assert specific.grad[0].tolist() == [0.0, 0.0]
    assert shared.grad[0].tolist() == [0.0, 0.0]


def test_very_long_rows_do_not_overflow() -> None:
    specific, shared = (
        torch.tensor([[3e18, 4e18], [1e30, 0.0]], requires_grad=True) for _ in range(2)
    )
    value = orthogonality(specific, shared)
    value.backward()
    # The square of 1e30 is beyond float32: such a row counts as the zero row does.
    assert value.item() == pytest.approx(0.5)
    assert_finite_with_gradient(orthogonality(specific, shared), specific, shared)

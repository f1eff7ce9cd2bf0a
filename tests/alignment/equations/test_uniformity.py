from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.alignment.equations import uniformity

from . import naive
from .samples import assert_finite_with_gradient, matrices, rows_of


@given(matrices, st.integers(1, 12), st.sampled_from([0.5, 2.0, 20.0]))
def test_equals_the_loop_and_is_finite_with_gradient(
    rows: torch.Tensor, block_rows: int, t: float
) -> None:
    rows.requires_grad_()
    value = uniformity(rows, block_rows=block_rows, t=t)
    if rows.shape[0] == 1:
        assert value.item() == 0.0
        assert torch.autograd.grad(value, rows, retain_graph=True)[0].abs().max() == 0.0
    else:
        # An exponent is off by a few times d times the machine epsilon, t times over.
        assert value.item() == pytest.approx(naive.uniformity(rows.tolist(), t), abs=1e-12)
    assert_finite_with_gradient(value, rows)


@pytest.mark.parametrize("block_rows", [1, 2, 3, 7, 100, None])
def test_gradient_is_that_of_finite_differences(block_rows: int | None) -> None:
    rows = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: uniformity(r, block_rows=block_rows), (rows,))
    assert torch.autograd.gradcheck(lambda r: uniformity(r, block_rows=block_rows, t=0.3), (rows,))


def test_gradient_beside_zero_rows_is_that_of_finite_differences() -> None:
    others = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r: uniformity(torch.cat([zeros, r])), (others,))


def test_zero_rows_get_no_gradient() -> None:
    rows = rows_of("some zero", 5, 3, seed=1).requires_grad_()
    uniformity(rows).backward()
    assert rows.grad is not None
    assert rows.grad[::2].abs().max() == 0.0
    assert rows.grad[1::2].abs().min() > 0.0


def test_value_and_gradient_equal_autograd_over_the_whole_matrix() -> None:
    rows = torch.randn(300, 16, dtype=torch.float64, requires_grad=True)
    whole = torch.pdist(torch.nn.functional.normalize(rows)).square().mul(-2).exp().mean().log()
    (expected,) = torch.autograd.grad(whole * 3.0, rows)
    for block_rows in (64, 100, 1024):
        value = uniformity(rows, block_rows=block_rows)
        torch.testing.assert_close(value, whole, rtol=1e-13, atol=0)
        (gradient,) = torch.autograd.grad(value * 3.0, rows)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-15)


def test_known_values() -> None:
    ring = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    # Each row has two neighbours at a squared distance of 2 and one row opposite, at 4.
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert uniformity(ring).item() == pytest.approx(expected, rel=1e-6)
    assert uniformity(ring[[0, 0, 0]]).item() == pytest.approx(0.0, abs=1e-6)
    assert uniformity(ring[[0, 2]]).item() == pytest.approx(-8.0, rel=1e-6)
    # The lower end of the range at the sharpest potential that is let through, in float32.
    assert uniformity(ring[[0, 2]], t=20.0).item() == pytest.approx(-80.0, rel=1e-6)
    assert uniformity(torch.empty(0, 4)).item() == 0.0


@pytest.mark.parametrize("n", [600, 1300])
def test_float32_is_as_close_as_its_products(n: int) -> None:
    d = 64
    rows = torch.randn(n, d, dtype=torch.float64, requires_grad=True)
    exact = uniformity(rows)
    (exact_gradient,) = torch.autograd.grad(exact, rows)
    narrow = rows.detach().float().requires_grad_()
    value = uniformity(narrow)
    (gradient,) = torch.autograd.grad(value, narrow)
    assert value.dtype == torch.float32
    # A product of unit rows is off by at most d times epsilon, hence an exponent by 4 d epsilon,
    # and so much, relatively, every potential and every weight in the gradient.
    bound = 4 * d * torch.finfo(torch.float32).eps
    assert abs(value.item() - exact.item()) < bound
    assert (gradient - exact_gradient).norm() < 2 * bound * exact_gradient.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rows_are_computed_in_float32(dtype: torch.dtype) -> None:
    rows = torch.randn(40, 8).to(dtype).requires_grad_()
    value = uniformity(rows)
    assert value.dtype == torch.float32
    assert value.item() == uniformity(rows.detach().float()).item()
    assert torch.autograd.grad(value, rows)[0].dtype == dtype


def test_autocast_changes_nothing() -> None:
    rows = torch.randn(40, 8, requires_grad=True)
    plain = uniformity(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = uniformity(rows)
        (gradient,) = torch.autograd.grad(cast, rows)
    assert torch.equal(cast, plain)
    assert torch.equal(gradient, torch.autograd.grad(plain, rows)[0])


def test_the_value_needs_no_gradient() -> None:
    rows = torch.randn(40, 8, requires_grad=True)
    with torch.no_grad():
        value = uniformity(rows)
    assert not value.requires_grad
    assert torch.equal(value, uniformity(rows).detach())


def test_a_second_backward_through_the_same_graph_gives_the_same() -> None:
    rows = torch.randn(20, 4, requires_grad=True)
    value = uniformity(rows)
    (first,) = torch.autograd.grad(value, rows, retain_graph=True)
    (second,) = torch.autograd.grad(value, rows)
    assert torch.equal(first, second)


def test_second_derivatives_are_refused_rather_than_wrong() -> None:
    rows = torch.randn(5, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(uniformity(rows), rows, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_bad_arguments() -> None:
    rows = torch.randn(4, 3)
    for t in (0.0, -1.0, 21.0, math.nan):
        with pytest.raises(ValueError, match="t must be in"):
            uniformity(rows, t=t)
    with pytest.raises(ValueError, match="block_rows"):
        uniformity(rows, block_rows=0)
    with pytest.raises(ValueError, match="matrix"):
        uniformity(rows[0])

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given

from recbole_darec.alignment.equations import global_structure, unit_rows

from . import naive
from .samples import assert_finite_with_gradient, pairs_of_matrices

EPS = torch.finfo(torch.float32).eps


def squared_norms(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖AᵀA‖² + ‖BᵀB‖², which the rounding of the trace identity is relative to."""
    return sum((x.double().T @ x.double()).square().sum().item() for x in (a, b))


@given(pairs_of_matrices(same_width=False))
def test_equals_the_loop_and_is_finite_with_gradient(
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    a, b = (rows.requires_grad_() for rows in pair)
    expected = naive.global_structure(a.tolist(), b.tolist())
    rounding = 1e-14 * squared_norms(a, b)
    printed, mean = global_structure(a, b, scale="none"), global_structure(a, b)
    assert printed.item() == pytest.approx(expected, rel=1e-12, abs=rounding)
    assert mean.item() == pytest.approx(expected / len(a) ** 2, rel=1e-12, abs=rounding)
    assert printed.item() >= 0.0
    assert_finite_with_gradient(printed, a, b)
    assert_finite_with_gradient(mean, a, b)


@pytest.mark.parametrize("scale", ["mean", "none"])
def test_gradient_is_that_of_finite_differences(scale: str) -> None:
    a = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: global_structure(x, y, scale=scale), (a, b))


def test_known_values() -> None:
    axes = torch.eye(2)
    assert global_structure(axes, axes.flip(0)).item() == 0.0
    # Orthogonal rows against equal rows: the two entries off the diagonal differ by 1.
    assert global_structure(axes, torch.ones(2, 1), scale="none").item() == 2.0
    assert global_structure(axes, torch.ones(2, 1)).item() == 0.5
    assert global_structure(torch.empty(0, 2), torch.empty(0, 3)).item() == 0.0


@pytest.mark.parametrize("n", [50, 1000])
@pytest.mark.parametrize("kind", ["rotated", "unrelated", "near", "collapsed"])
def test_float32_error_under_cancellation_is_bounded(n: int, kind: str) -> None:
    a = torch.randn(n, 64, dtype=torch.float64)
    if kind == "collapsed":
        a = 1.0 + 0.05 * a
    a = unit_rows(a).float()
    if kind == "rotated":  # equal similarities: all that is left is rounding
        b = (a.double() @ torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))[0]).float()
    elif kind == "near":
        b = unit_rows(a + 1e-3 * torch.randn(n, 64))
    else:
        b = unit_rows(torch.randn(n, 64))
    exact = global_structure(a.double(), b.double(), scale="none").item()
    value = global_structure(a, b, scale="none").item()
    # A sum of N products is off by √N epsilon when its roundings are independent; the last term
    # is the float32 that the value comes back in.
    bound = 2 * math.sqrt(n) * EPS * squared_norms(a, b) + EPS * exact
    assert abs(value - exact) < bound
    assert value >= 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    # 2000 rows of length 8 have similarities whose squares sum to far beyond float16's 65504.
    a = torch.randn(2000, 64).to(dtype).requires_grad_()
    b = (a.detach().double() + 0.1 * torch.randn(2000, 64).double()).to(dtype)
    exact = global_structure(a.detach().double(), b.double(), scale="none").item()
    value = global_structure(a, b, scale="none")
    assert value.dtype == torch.float32
    assert exact > 65504
    assert abs(value.item() - exact) < 2 * math.sqrt(2000) * EPS * squared_norms(a, b)
    (gradient,) = torch.autograd.grad(global_structure(a, b), a)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_autocast_changes_nothing() -> None:
    a, b = torch.randn(100, 8, requires_grad=True), torch.randn(100, 6)
    plain = global_structure(a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = global_structure(a, b)
    assert torch.equal(cast, plain)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="scale must be one of mean, none"):
        global_structure(torch.eye(2), torch.eye(2), scale="sum")
    with pytest.raises(ValueError, match="3 and 2 rows"):
        global_structure(torch.eye(3), torch.eye(2))

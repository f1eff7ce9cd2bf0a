"""The squared correlation of two groups of columns, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_darec.alignment.equations import decorrelation


def test_it_is_the_mean_squared_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    other = torch.randn(30, 4, generator=generator, dtype=torch.float64) + one[:, :1]
    total = 0.0
    for a in one.T:
        for b in other.T:
            total += np.corrcoef(a.numpy(), b.numpy())[0, 1] ** 2
    assert float(decorrelation(one, other)) == pytest.approx(total / 12, rel=1e-12)
    assert float(decorrelation(one[:, :1], -3.0 * one[:, :1] + 2.0)) == pytest.approx(1.0)


def test_its_gradient_is_that_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    sides = [
        torch.randn(7, width, generator=generator, dtype=torch.float64).requires_grad_()
        for width in (2, 3)
    ]
    assert torch.autograd.gradcheck(decorrelation, sides)


@pytest.mark.parametrize("rows", [torch.full((5, 2), 0.1), torch.ones(1, 2)])
def test_constant_columns_have_no_correlation_and_no_gradient(rows: torch.Tensor) -> None:
    rows = rows.requires_grad_()
    found = decorrelation(rows, torch.arange(2.0 * len(rows)).reshape(-1, 2))
    found.backward()  # type: ignore[no-untyped-call]
    assert float(found.detach()) == 0.0
    assert rows.grad is not None
    assert not bool(rows.grad.any())

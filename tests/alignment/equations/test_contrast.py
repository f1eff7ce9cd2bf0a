"""Equation (16) against a loop in float64 and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_darec.alignment.equations import info_nce


def rows(n: int, seed: int) -> Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(x: np.ndarray, y: np.ndarray, temperature: float) -> float:
    total = 0.0
    for i in range(len(x)):
        each = [
            math.exp(float(x[i] @ y[j] / np.linalg.norm(x[i]) / np.linalg.norm(y[j])) / temperature)
            for j in range(len(y))
        ]
        total -= math.log(each[i] / sum(each))
    return total / len(x)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_it_is_the_papers_sum_over_items(n: int) -> None:
    x, y = rows(n, 0), rows(n, 1)
    assert float(info_nce(x, y, 0.1)) == pytest.approx(naive(x.numpy(), y.numpy(), 0.1), abs=1e-10)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x, y = rows(4, 2).requires_grad_(), rows(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.3), (x, y))

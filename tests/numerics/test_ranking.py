"""Rank losses against loops over float64 scores, and by finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.numerics import (
    RANK_LOSSES,
    bce_loss,
    bpr_loss,
    softmax_loss,
    softmax_loss_of_rows,
)


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * 3


def log_sigmoid(score: float) -> float:
    return -math.log1p(math.exp(-score))


def test_bce_is_the_mean_over_positives_and_the_mean_over_negatives() -> None:
    positive, negative = drawn(5), drawn(7)
    expected = -sum(map(log_sigmoid, positive.tolist())) / 5
    expected -= sum(log_sigmoid(-s) for s in negative.tolist()) / 7
    assert float(bce_loss(positive, negative)) == pytest.approx(expected, rel=1e-12)


def test_bpr_is_the_mean_over_pairs() -> None:
    positive, negative = drawn(2, 5)
    pairs = zip(positive.tolist(), negative.tolist())
    expected = -sum(log_sigmoid(p - n) for p, n in pairs) / 5
    assert float(bpr_loss(positive, negative)) == pytest.approx(expected, rel=1e-12)


def test_softmax_leaves_the_padding_out() -> None:
    scores, targets = drawn(4, 6), torch.tensor([1, 5, 2, 2])
    expected = 0.0
    for row, target in zip(scores.tolist(), targets.tolist()):
        expected += math.log(sum(math.exp(s) for s in row[1:])) - row[target]
    assert float(softmax_loss(scores, targets)) == pytest.approx(expected / 4, rel=1e-12)
    scores[:, 0] = 1e9
    assert float(softmax_loss(scores, targets)) == pytest.approx(expected / 4, rel=1e-12)


@pytest.mark.parametrize("name", RANK_LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    if name == "ce":
        targets = torch.tensor([1, 3])
        assert torch.autograd.gradcheck(
            lambda s: softmax_loss(s, targets), drawn(2, 4).requires_grad_()
        )
        return
    positive, negative = (score.clone().requires_grad_() for score in drawn(2, 4))
    assert torch.autograd.gradcheck(RANK_LOSSES[name], (positive, negative))


@pytest.mark.parametrize("score", [1e4, -1e4])
def test_large_scores_stay_finite(score: float) -> None:
    value = torch.tensor([score], requires_grad=True)
    for loss in (bce_loss(value, -value), bpr_loss(value, -value)):
        (gradient,) = torch.autograd.grad(loss, value)
        assert bool(loss.isfinite())
        assert bool(gradient.isfinite().all())


@given(st.integers(1, 20), st.integers(2, 40), st.integers(1, 6), st.integers(0, 99))
def test_the_softmax_of_rows_is_that_of_their_scores(m: int, n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, table = (
        (3 * torch.randn(k, d, generator=generator, dtype=torch.float64)).requires_grad_()
        for k in (m, n)
    )
    targets = torch.randint(1, n, (m,), generator=generator)
    found = softmax_loss_of_rows(rows, table, targets)
    expected = softmax_loss(rows @ table.t(), targets)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (rows, table)), torch.autograd.grad(expected, (rows, table))
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)

"""Dropout by 16 random bits an entry: its probability, its scale, its gradient, its place."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from recbole_darec.numerics.dropout import cheap_dropout, dropout_factors
from recbole_darec.numerics.shares import whole_dropout


@given(
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple),
    p=st.floats(1e-9, 1 - 1e-9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_factors_are_nothing_or_what_makes_up_for_it(
    shape: tuple[int, ...], p: float, dtype: torch.dtype
) -> None:
    found = dropout_factors(shape, p, torch.zeros((), dtype=dtype))
    assert found.shape == shape
    assert found.dtype == dtype
    kept = found[found != 0]
    assert torch.all(kept == kept[:1])
    # A factor is one over a number of 65536ths that is next to 1 - p, and never 0.
    steps = 65536 / kept[:1].double()
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=0.01)
    assert torch.all((steps - (1 - p) * 65536).abs() <= 1.01)


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_each_place_is_dropped_as_often_as_asked(p: float) -> None:
    torch.manual_seed(0)
    n_rows = 20_000
    dropped = (dropout_factors((n_rows, 7), p, torch.zeros(())) == 0).double()
    five_deviations = 5 * (p * (1 - p) / n_rows) ** 0.5
    assert torch.all((dropped.mean(0) - p).abs() < five_deviations)
    # One place says nothing of its neighbours, which are cut from the same random number.
    centred = dropped - p
    together = centred.T @ centred / (n_rows * p * (1 - p))
    assert torch.all((together - torch.eye(7, dtype=torch.float64)).abs() < 5 / n_rows**0.5 * 2)


def test_the_gradient_is_dropped_like_the_rows() -> None:
    rows = torch.rand(50, 8, requires_grad=True)
    with cheap_dropout():
        out = nn.Dropout(0.5)(rows)
    out.sum().backward()
    assert rows.grad is not None
    torch.testing.assert_close(out, rows * rows.grad, rtol=0, atol=0)
    assert set(rows.grad.unique().tolist()) == {0.0, 2.0}


def test_it_draws_from_torchs_generator() -> None:
    rows, found = torch.ones(9, 5), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with cheap_dropout():
            found.append(functional.dropout(rows, 0.5))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_drops_nothing_or_all_or_in_place_stays_torchs() -> None:
    rows = torch.rand(4, 4)
    with cheap_dropout():
        assert torch.equal(functional.dropout(rows, 0.5, training=False), rows)
        assert torch.equal(nn.Dropout(0.5).eval()(rows), rows)
        assert torch.equal(functional.dropout(rows, 0.0), rows)
        assert not functional.dropout(rows, 1.0).any()
        with pytest.raises(ValueError, match="probability"):
            functional.dropout(rows, 1.5)
        given_rows = rows.clone()
        assert functional.dropout(given_rows, 0.5, inplace=True) is given_rows


def test_torchs_own_is_back_afterwards() -> None:
    before = functional.dropout
    with contextlib.suppress(RuntimeError), cheap_dropout():
        assert functional.dropout is not before
        raise RuntimeError
    assert functional.dropout is before


def test_a_part_of_the_rows_is_dropped_as_in_the_whole_batch() -> None:
    rows, layer = torch.rand(10, 4), nn.Dropout(0.5)
    with cheap_dropout():
        torch.manual_seed(3)
        whole, state = layer(rows), torch.get_rng_state()
        torch.manual_seed(3)
        with whole_dropout(slice(2, 6), 10):
            part = layer(rows[2:6])
    torch.testing.assert_close(part, whole[2:6], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.alignment.equations.relations import relation_matching
from recbole_darec.numerics import principal_rows

from . import naive
from .samples import assert_finite_with_gradient, matrices, pairs_of_matrices, rows_of


def loop(rows: naive.Rows, targets: naive.Rows, temperature: float, sharp: float) -> float:
    total = 0.0
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        ours = [math.exp(naive.cosine(rows[i], rows[j]) / temperature) for j in others]
        theirs = [math.exp(naive.cosine(targets[i], targets[j]) / sharp) for j in others]
        for near, wanted in zip(ours, theirs):
            total -= wanted / math.fsum(theirs) * math.log(near / math.fsum(ours))
    return total / len(rows)


@given(
    pairs_of_matrices(same_width=False),
    st.sampled_from([1 / 60, 0.1, 2.0]),
    st.sampled_from([1 / 60, 0.5]),
    st.sampled_from([1, 12, 1000]),
)
def test_equals_the_loop_and_is_finite_with_gradient(
    pair: tuple[torch.Tensor, torch.Tensor], temperature: float, sharp: float, max_elements: int
) -> None:
    rows, targets = pair[0].requires_grad_(), pair[1]
    value = relation_matching(
        rows,
        targets,
        temperature=temperature,
        target_temperature=sharp,
        max_elements=max_elements,
    )
    assert_finite_with_gradient(value, rows)
    # A cosine is off by a few machine epsilons, sixty times over at the lowest temperature.
    expected = loop(rows.tolist(), targets.tolist(), temperature, sharp) if len(rows) > 1 else 0.0
    assert value.item() == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("max_elements", [1, 15, 1000, None])
def test_gradient_is_that_of_finite_differences(max_elements: int | None) -> None:
    rows = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(7, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda r: relation_matching(
            r, targets, temperature=0.3, target_temperature=0.1, max_elements=max_elements
        ),
        (rows,),
    )


def test_the_least_value_is_where_the_relations_are_equal() -> None:
    targets = torch.randn(20, 4, dtype=torch.float64)
    best = relation_matching(targets * 5.0, targets, temperature=0.2, target_temperature=0.2)
    rows = torch.randn(20, 4, dtype=torch.float64)
    other = relation_matching(rows, targets, temperature=0.2, target_temperature=0.2)
    assert best < other
    at_best = targets.clone().requires_grad_()
    value = relation_matching(at_best, targets, temperature=0.2, target_temperature=0.2)
    assert torch.autograd.grad(value, at_best)[0].abs().max() < 1e-14


def test_equal_rows_are_not_the_least_value() -> None:
    """What makes the global structure term of the paper vanish does not help here."""
    targets = torch.randn(20, 4, dtype=torch.float64)
    collapsed = relation_matching(
        torch.ones(20, 4, dtype=torch.float64), targets, temperature=0.2, target_temperature=0.2
    )
    assert collapsed.item() == pytest.approx(math.log(19), abs=1e-12)
    best = relation_matching(targets, targets, temperature=0.2, target_temperature=0.2)
    assert best < collapsed - 0.1


def test_single_precision_agrees_with_double() -> None:
    rows, targets = torch.randn(300, 16), torch.randn(300, 8)
    values = [
        relation_matching(r, t, temperature=1 / 60, target_temperature=1 / 60)
        for r, t in ((rows, targets), (rows.double(), targets.double()))
    ]
    # Sixty times the rounding of a cosine of 16 products, below 1e-6, on a value of about 30.
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-5)
    half = relation_matching(rows.half(), targets.half(), temperature=1.0, target_temperature=1.0)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.0, -0.1, 1 / 61, float("nan")])
def test_a_temperature_out_of_range_is_refused(temperature: float) -> None:
    rows = torch.randn(3, 2)
    for given_ in (
        {"temperature": temperature, "target_temperature": 1.0},
        {"temperature": 1.0, "target_temperature": temperature},
    ):
        with pytest.raises(ValueError, match="temperature must be at least"):
            relation_matching(rows, rows, **given_)


def test_tables_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="each row needs its target"):
        relation_matching(
            torch.ones(3, 2), torch.ones(4, 2), temperature=1.0, target_temperature=1.0
        )


@given(matrices, st.integers(1, 7))
def test_principal_rows_are_unit_rows_or_zero(rows: torch.Tensor, width: int) -> None:
    found = principal_rows(rows, width)
    assert found.shape == (len(rows), min(width, *rows.shape))
    lengths = found.norm(dim=1)
    assert bool(((lengths - 1.0).abs().lt(1e-9) | lengths.eq(0.0)).all())


def test_all_directions_keep_the_cosines_of_the_centred_rows() -> None:
    rows = rows_of("random", 12, 5, seed=3) + 2.0
    unit = np.array([naive.unit(row) for row in rows.tolist()])
    centred = unit - unit.mean(axis=0)
    expected = [[naive.cosine(x, y) for y in centred.tolist()] for x in centred.tolist()]
    found = principal_rows(rows, 5)
    np.testing.assert_allclose((found @ found.T).numpy(), expected, atol=1e-12)


def test_few_directions_are_the_leading_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    noise = 0.01 * torch.randn(200, 6, generator=generator, dtype=torch.float64)
    rows = torch.cat([signal, noise], dim=1) + torch.tensor([0.0] * 7 + [4.0])
    # Two of the signal; on the unit sphere the offset gives way where the signal is large.
    found = principal_rows(rows, 3)
    expected = principal_rows(rows, 8)
    difference = (found @ found.T) - (expected @ expected.T)
    assert difference.square().mean().sqrt() < 0.01
    with pytest.raises(ValueError, match="at least one direction"):
        principal_rows(rows, 0)

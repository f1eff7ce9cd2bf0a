from __future__ import annotations

import pytest
import torch
from alignment.equations import naive
from alignment.equations.samples import matrices
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.numerics import (
    distinct_with_weights,
    mean_of_units,
    unique_with_counts,
    unit_rows,
)
from recbole_darec.numerics import rows as rows_module


@given(matrices)
def test_rows_get_length_one_or_stay_zero(rows: torch.Tensor) -> None:
    expected = torch.tensor([naive.unit(row) for row in rows.tolist()], dtype=torch.float64)
    torch.testing.assert_close(unit_rows(rows), expected, rtol=0, atol=1e-14)


def test_gradient_is_that_of_finite_differences() -> None:
    rows = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, (rows,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_zero_row_gets_a_zero_gradient(dtype: torch.dtype) -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    unit = unit_rows(rows)
    assert unit.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert unit[0].tolist() == [0.0, 0.0]
    (gradient,) = torch.autograd.grad(unit.sum() * 1e30, rows, retain_graph=True)
    assert gradient[0].tolist() == [0.0, 0.0]
    assert gradient[1].abs().max() > 0


def test_eps_bounds_what_counts_as_zero() -> None:
    rows = torch.tensor([[1e-3, 0.0], [1e-1, 0.0]])
    assert unit_rows(rows)[:, 0].tolist() == pytest.approx([1.0, 1.0])
    assert unit_rows(rows, eps=1e-2)[:, 0].tolist() == pytest.approx([0.0, 1.0])


def test_nan_is_not_hidden() -> None:
    assert unit_rows(torch.tensor([[float("nan"), 1.0]])).isnan().all()


def test_an_accelerator_is_not_asked_how_many_ids_differ() -> None:
    ids = torch.tensor([4, 1, 4, 4])
    distinct, counts = unique_with_counts(ids)
    assert (distinct.tolist(), counts.tolist()) == ([1, 4], [1, 3])
    elsewhere = ids.to("meta")
    assert unique_with_counts(elsewhere) == (elsewhere, None)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_weights_count_each_distinct_id_once(numbers: list[int]) -> None:
    ids = torch.tensor(numbers)
    distinct, weights, number = distinct_with_weights(ids, 7)
    assert (distinct.tolist(), weights, number) == (sorted(set(numbers)), None, len(set(numbers)))
    weights, number = rows_module.shares_of_like_ids(ids, 7)
    assert float(number) == pytest.approx(len(set(numbers)))
    for one in set(numbers):
        assert float(weights[ids == one].sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("chosen", [None, [6, 0, 3]])
def test_the_mean_of_units_is_that_of_a_loop_whatever_the_blocks(
    dtype: torch.dtype, chosen: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 2)
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    rows[2] = 0.0
    units = [naive.unit(rows[n].tolist()) for n in (range(7) if chosen is None else chosen)]
    expected = [sum(column) / len(units) for column in zip(*units)]
    found = mean_of_units(rows, None if chosen is None else torch.tensor(chosen))
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)

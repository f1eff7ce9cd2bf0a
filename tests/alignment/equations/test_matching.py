from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.alignment.equations import (
    center_distances,
    greedy_matching,
    hungarian_matching,
)

from . import naive
from .samples import matrices


@st.composite
def distance_matrices(draw: st.DrawFn) -> list[list[float]]:
    """Few distinct values, so that ties are common."""
    value = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])
    columns = draw(st.integers(1, 6))
    row = st.lists(value, min_size=columns, max_size=columns)
    return draw(st.lists(row, min_size=1, max_size=6))


def pairs(matching: tuple[torch.Tensor, torch.Tensor]) -> list[tuple[int, int]]:
    rows, columns = matching
    assert rows.dtype == columns.dtype == torch.int64
    return list(zip(rows.tolist(), columns.tolist()))


@given(matrices, matrices)
def test_distances_equal_the_loop(first: torch.Tensor, second: torch.Tensor) -> None:
    width = min(first.shape[1], second.shape[1])
    cf, llm = first[:, :width].requires_grad_(), second[:, :width].requires_grad_()
    distances = center_distances(cf, llm)
    expected = [
        [math.sqrt(naive.squared_distance(x, y)) for y in llm.tolist()] for x in cf.tolist()
    ]
    torch.testing.assert_close(distances, torch.tensor(expected, dtype=torch.float64))
    for gradient in torch.autograd.grad(distances.sum(), (cf, llm)):
        assert gradient.isfinite().all()


def test_distances_have_the_gradient_of_finite_differences() -> None:
    cf = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    llm = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(center_distances, (cf, llm))


def test_equal_centers_are_exactly_zero_apart() -> None:
    centers = 1000.0 + torch.randn(4, 64)
    assert center_distances(centers, centers).diagonal().tolist() == [0.0] * 4


@given(distance_matrices())
def test_greedy_equals_the_loop(distances: list[list[float]]) -> None:
    assert pairs(greedy_matching(torch.tensor(distances))) == naive.greedy(distances)


def test_greedy_takes_the_closest_pair_first_even_where_the_sum_is_larger() -> None:
    distances = torch.tensor([[1.0, 2.0], [2.0, 9.0]])
    assert pairs(greedy_matching(distances)) == [(0, 0), (1, 1)]
    assert pairs(hungarian_matching(distances)) == [(0, 1), (1, 0)]


def test_greedy_brings_shuffled_centers_together() -> None:
    centers = torch.randn(8, 16)
    order = torch.randperm(8)
    rows, columns = greedy_matching(center_distances(centers, centers[order] + 0.01))
    assert torch.equal(rows, order[columns])


@pytest.mark.parametrize("match", [greedy_matching, hungarian_matching])
def test_infinite_distances_are_paired_last(match) -> None:  # type: ignore[no-untyped-def]
    inf, nan = math.inf, math.nan
    distances = torch.tensor([[inf, inf, inf], [5.0, inf, 4.0], [nan, inf, 9.0]])
    found = pairs(match(distances))
    assert sorted(i for i, _ in found) == sorted(j for _, j in found) == [0, 1, 2]
    if match is greedy_matching:
        assert found == [(1, 2), (0, 0), (2, 1)]
    else:  # (1, 0) and (2, 2) are the one way to use two finite distances
        assert found == [(0, 1), (1, 0), (2, 2)]
    everything = match(torch.full((3, 3), inf))
    assert sorted(everything[1].tolist()) == [0, 1, 2]


@given(distance_matrices())
def test_hungarian_finds_the_least_sum(distances: list[list[float]]) -> None:
    matrix = torch.tensor(distances)
    found = pairs(hungarian_matching(matrix))
    k, width = matrix.shape
    if k <= width:
        candidates = (
            sum(distances[i][j] for i, j in enumerate(columns))
            for columns in itertools.permutations(range(width), k)
        )
    else:
        candidates = (
            sum(distances[i][j] for j, i in enumerate(rows))
            for rows in itertools.permutations(range(k), width)
        )
    assert len(found) == len({i for i, _ in found}) == len({j for _, j in found}) == min(k, width)
    assert sum(distances[i][j] for i, j in found) == min(candidates)


@pytest.mark.parametrize("match", [greedy_matching, hungarian_matching])
def test_matching_carries_no_gradient_and_bears_an_empty_side(match) -> None:  # type: ignore[no-untyped-def]
    rows, columns = match(torch.rand(3, 3, requires_grad=True))
    assert not rows.requires_grad
    assert not columns.requires_grad
    rows, columns = match(torch.empty(0, 3))
    assert rows.shape == columns.shape == (0,)

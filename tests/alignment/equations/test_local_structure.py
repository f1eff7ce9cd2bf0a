from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given

from recbole_darec.alignment.equations import (
    center_similarity,
    centers_of,
    greedy_matching,
    kmeans,
    local_structure,
    matched_structure,
)

from . import naive
from .samples import assert_finite_with_gradient, matrices, pairs_of_matrices


@given(pairs_of_matrices(same_width=True))
def test_equals_the_loop_and_is_finite_with_gradient(
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    cf, llm = (centers.requires_grad_() for centers in pair)
    value = local_structure(center_similarity(cf, llm))
    expected = naive.local_structure(cf.tolist(), llm.tolist())
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-14)
    assert_finite_with_gradient(value, cf, llm)


def test_similarity_is_the_cosine_across_the_two_sides() -> None:
    cf, llm = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    similarity = center_similarity(cf, llm)
    for i in range(4):
        for j in range(4):
            expected = naive.cosine(cf[i].tolist(), llm[j].tolist())
            assert similarity[i, j].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_gradient_is_that_of_finite_differences(k: int) -> None:
    cf = torch.randn(k, 3, dtype=torch.float64, requires_grad=True)
    llm = torch.randn(k, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, y: local_structure(center_similarity(x, y)), (cf, llm)
    )


def test_known_values() -> None:
    assert local_structure(torch.eye(4)).item() == 0.0
    assert local_structure(-torch.eye(3)).item() == 4.0
    assert local_structure(torch.ones(3, 3)).item() == 1.0
    assert local_structure(torch.tensor([[0.5]])).item() == 0.25


def test_mask_leaves_the_equation_of_the_pairs_that_count() -> None:
    similarity = torch.rand(5, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, False, True, True, False])
    value = local_structure(similarity, mask)
    kept = similarity[mask][:, mask]
    torch.testing.assert_close(value, local_structure(kept))
    torch.testing.assert_close(
        value, local_structure(similarity, mask.unsqueeze(1) & mask.unsqueeze(0))
    )
    (gradient,) = torch.autograd.grad(value, similarity)
    assert gradient[~mask].eq(0).all()
    assert gradient[:, ~mask].eq(0).all()
    # Entry by entry: a row that is empty on one side only.
    one_sided = torch.ones(5, 5, dtype=torch.bool)
    one_sided[2] = False
    kept_rows = [0, 1, 3, 4]
    expected = sum((similarity[i, i] - 1) ** 2 for i in kept_rows) / 4
    expected = (
        expected + sum(similarity[i, j] ** 2 for i in kept_rows for j in range(5) if i != j) / 16
    )
    torch.testing.assert_close(local_structure(similarity, one_sided), expected)


def test_a_mask_without_pairs_gives_zero() -> None:
    similarity = torch.rand(3, 3, requires_grad=True)
    value = local_structure(similarity, torch.zeros(3, dtype=torch.bool))
    assert value.item() == 0.0
    assert torch.autograd.grad(value, similarity)[0].eq(0).all()


@pytest.mark.parametrize("empty_l", [[1], [1, 3]])
def test_matched_centers_are_the_loop_over_those_with_rows(empty_l: list[int]) -> None:
    k, empty_c = 5, [0]
    sides = [torch.randn(k, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    counts = [torch.full((k,), 3) for _ in range(2)]
    for side, empty in zip(counts, (empty_c, empty_l)):
        side[empty] = 0
    living = [[n for n in range(k) if n not in empty] for empty in (empty_c, empty_l)]
    centers_c, centers_l = ([side[n].tolist() for n in has] for side, has in zip(sides, living))
    pairs = naive.greedy([[math.dist(one, other) for other in centers_l] for one in centers_c])
    expected = naive.local_structure(
        [centers_c[i] for i, _ in pairs], [centers_l[j] for _, j in pairs]
    )
    value = matched_structure((sides[0], counts[0]), (sides[1], counts[1]), greedy_matching)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    value.backward()
    for side, empty in zip(sides, (empty_c, empty_l)):
        assert side.grad is not None
        assert not side.grad[empty].any()


@given(matrices, matrices)
def test_the_local_term_on_degenerate_rows_is_finite(
    first: torch.Tensor, second: torch.Tensor
) -> None:
    """Equations (6) to (10) in a row, with more centers than most of these have rows."""
    k = 5
    width = min(first.shape[1], second.shape[1])
    sides = [first[:, :width].requires_grad_(), second[:, :width].requires_grad_()]
    centers = []
    for rows in sides:
        labels, _ = kmeans(rows, k, iterations=3, generator=torch.Generator().manual_seed(0))
        centers.append(centers_of(rows, labels, k))
    value = matched_structure(*centers, greedy_matching)
    assert -1e-12 <= value.item() <= 5.0 + 1e-12
    assert_finite_with_gradient(value, *sides)

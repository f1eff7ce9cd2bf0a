"""The blocked contrast, against loops over Python floats and against dense autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from alignment.equations import naive
from alignment.equations.samples import KINDS, assert_finite_with_gradient, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.numerics import info_nce, log_sum_exp, unit_rows

Rows = Sequence[Sequence[float]]


def naive_log_sum_exp(anchors: Rows, candidates: Rows, weights: Sequence[float]) -> float:
    total = 0.0
    for anchor, weight in zip(anchors, weights):
        products = [naive.dot(anchor, candidate) for candidate in candidates]
        largest = max(products)
        total += weight * (largest + math.log(math.fsum(math.exp(p - largest) for p in products)))
    return total


def naive_info_nce(
    anchors: Rows, positives: Rows, candidates: Rows, tau: float, weights: Sequence[float]
) -> float:
    scaled = [[x / tau for x in naive.unit(row)] for row in anchors]
    near = math.fsum(w * naive.dot(a, naive.unit(p)) for a, p, w in zip(scaled, positives, weights))
    return naive_log_sum_exp(scaled, [naive.unit(c) for c in candidates], weights) - near


def dense_info_nce(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    candidates: torch.Tensor,
    tau: float,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    near = (unit_rows(anchors) * unit_rows(positives)).sum(-1) / tau
    terms = torch.logsumexp(unit_rows(anchors) @ unit_rows(candidates).T / tau, 1) - near
    return (terms if weights is None else terms * weights).sum()


@st.composite
def contrasts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Anchors, positives, candidates and weights; zero rows, equal rows, one row among them."""
    n, m, d = draw(st.integers(0, 7)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    kind, seed = st.sampled_from(KINDS), draw(st.integers(0, 10_000))
    scale = draw(st.sampled_from([1e-3, 1.0, 1e3]))
    rows = {
        name: rows_of(draw(kind), max(count, 1), d, seed + shift, scale)[:count]
        for shift, (name, count) in enumerate(
            {"anchors": n, "positives": n, "candidates": m}.items()
        )
    }
    counts = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    return {**rows, "weights": torch.tensor(counts, dtype=torch.float64)}


def rounding(given_: dict[str, torch.Tensor], tau: float) -> float:
    """What a gradient may be off by: it is a difference of parts as large as w / (τ |row|)."""
    rows = torch.cat([given_[name] for name in ("anchors", "positives", "candidates")])
    lengths = [float(length) for length in rows.norm(dim=1) if length > 0]
    largest = max(1.0, float(given_["weights"].sum())) / (tau * min([1.0, *lengths]))
    return 1e-14 * largest + 1e-10


block_sizes = st.sampled_from([None, 1, 5, 1000])
temperatures = st.sampled_from([0.01, 0.2, 1.0, 7.0])


@settings(deadline=None)
@given(contrasts(), temperatures, block_sizes)
def test_info_nce_is_the_loop_over_anchors_and_candidates(
    given_: dict, tau: float, max_elements: int | None
) -> None:
    rows = [given_[name] for name in ("anchors", "positives", "candidates")]
    lists = [value.tolist() for value in rows]
    weights = given_["weights"]
    expected = naive_info_nce(*lists, tau, weights.tolist())
    found = info_nce(*rows, tau, weights=weights, max_elements=max_elements)
    assert float(found) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    unweighted = info_nce(*rows, tau, max_elements=max_elements)
    once = [1.0] * len(weights)
    assert float(unweighted) == pytest.approx(
        naive_info_nce(*lists, tau, once), rel=1e-10, abs=1e-10
    )


@settings(deadline=None)
@given(contrasts(), block_sizes, st.booleans())
def test_log_sum_exp_is_the_loop(given_: dict, max_elements: int | None, bounded: bool) -> None:
    anchors, candidates = (unit_rows(given_[name]) for name in ("anchors", "candidates"))
    weights = given_["weights"]
    found = log_sum_exp(
        anchors,
        candidates,
        weights=weights,
        bound=1.0 if bounded else None,
        max_elements=max_elements,
    )
    expected = naive_log_sum_exp(anchors.tolist(), candidates.tolist(), weights.tolist())
    assert float(found) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@settings(deadline=None)
@given(contrasts(), temperatures, block_sizes)
def test_value_and_gradients_are_those_of_dense_autograd(
    given_: dict, tau: float, max_elements: int | None
) -> None:
    weights = given_["weights"]
    results = []
    for function, extra in ((info_nce, {"max_elements": max_elements}), (dense_info_nce, {})):
        rows = [
            given_[name].clone().requires_grad_() for name in ("anchors", "positives", "candidates")
        ]
        value = 3.0 * function(*rows, tau, weights=weights, **extra)
        assert_finite_with_gradient(value, *rows)
        value = 3.0 * function(*rows, tau, weights=weights, **extra)
        results.append((value, *torch.autograd.grad(value, rows)))
    for ours, dense in zip(*results):
        torch.testing.assert_close(ours, dense, rtol=1e-8, atol=rounding(given_, tau))


@settings(deadline=None)
@given(contrasts(), temperatures, block_sizes, st.randoms(use_true_random=False))
def test_a_candidate_that_counts_n_times_stands_there_n_times(
    given_: dict, tau: float, max_elements: int | None, random: Any
) -> None:
    candidates = given_["candidates"]
    counts = torch.tensor([random.randint(1, 4) for _ in candidates])
    results = []
    for others, weights in (
        (candidates, counts),
        (candidates.repeat_interleave(counts, dim=0), None),
    ):
        rows = [given_["anchors"].clone().requires_grad_(), others.clone().requires_grad_()]
        value = log_sum_exp(
            unit_rows(rows[0]) / tau,
            unit_rows(rows[1]),
            weights=given_["weights"],
            candidate_weights=weights,
            bound=1.0 / tau,
            max_elements=max_elements,
        )
        results.append((value, *torch.autograd.grad(value, rows)))
    (value, of_anchors, of_candidates), (expected, like_anchors, repeated) = results
    assert value.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    which = torch.repeat_interleave(torch.arange(len(counts)), counts)
    like_candidates = torch.zeros_like(candidates).index_add(0, which, repeated)
    for ours, dense in ((of_anchors, like_anchors), (of_candidates, like_candidates)):
        # Counts of up to four, each in the place of as many rows.
        torch.testing.assert_close(ours, dense, rtol=1e-8, atol=4 * rounding(given_, tau))


def test_weights_that_do_not_fit_are_refused() -> None:
    rows = torch.ones(3, 2)
    with pytest.raises(ValueError, match="3 candidates need as many weights"):
        log_sum_exp(rows, rows, candidate_weights=torch.ones(2))


@pytest.mark.parametrize("max_elements", [None, 3, 8])
@pytest.mark.parametrize("bound", [None, 20.0])
def test_gradient_of_log_sum_exp_is_that_of_finite_differences(
    max_elements: int | None, bound: float | None
) -> None:
    anchors = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    candidates = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, c: log_sum_exp(a, c, weights=weights, bound=bound, max_elements=max_elements),
        (anchors, candidates),
    )


@pytest.mark.parametrize("tau", [0.01, 0.5])
def test_gradient_of_info_nce_is_that_of_finite_differences(tau: float) -> None:
    rows = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 4, 6)]
    assert torch.autograd.gradcheck(
        lambda a, p, c: info_nce(a, p, c, tau, max_elements=7), rows, eps=1e-7
    )


def test_one_tensor_as_positives_and_candidates_gets_both_gradients() -> None:
    anchors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    others = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, o: info_nce(a, o, o, 0.3), (anchors, others))


def test_only_the_wanted_gradient_may_be_asked_for() -> None:
    anchors, candidates = torch.randn(4, 3), torch.randn(5, 3)
    for wanted in (anchors, candidates):
        wanted.requires_grad_()
        total = log_sum_exp(anchors, candidates)
        (gradient,) = torch.autograd.grad(total, wanted)
        (dense,) = torch.autograd.grad(torch.logsumexp(anchors @ candidates.T, 1).sum(), wanted)
        torch.testing.assert_close(gradient, dense)
        wanted.requires_grad_(False)


def test_a_weight_is_a_number_of_repetitions() -> None:
    rows, others = torch.randn(6, 4).double(), torch.randn(6, 4).double()
    ids = torch.tensor([0, 3, 3, 5, 0, 3])
    unique, counts = ids.unique(return_counts=True)
    repeated = info_nce(rows[ids], others[ids], others, 0.2)
    once = info_nce(rows[unique], others[unique], others, 0.2, weights=counts)
    torch.testing.assert_close(repeated, once)


def test_one_candidate_that_is_the_positive_costs_nothing() -> None:
    anchor, other = torch.randn(1, 4).double(), torch.randn(1, 4).double()
    assert float(info_nce(anchor, other, other, 0.1)) == pytest.approx(0.0, abs=1e-12)


def test_zero_rows_cost_the_log_of_the_number_of_candidates_and_get_no_gradient() -> None:
    anchors = torch.zeros(3, 4, requires_grad=True)
    total = info_nce(anchors, torch.randn(3, 4), torch.randn(7, 4), 0.05)
    assert total.item() == pytest.approx(3 * math.log(7), rel=1e-6)
    total.backward()
    assert torch.equal(anchors.grad, torch.zeros(3, 4))


def test_no_anchors_cost_nothing_and_give_a_zero_gradient() -> None:
    anchors = torch.empty(0, 4, requires_grad=True)
    candidates = torch.randn(5, 4, requires_grad=True)
    total = info_nce(anchors, anchors, candidates, 0.1)
    assert total.item() == 0.0
    total.backward()
    assert anchors.grad.shape == (0, 4)
    assert torch.equal(candidates.grad, torch.zeros(5, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_its_gradient_is_of_its_dtype(
    dtype: torch.dtype,
) -> None:
    rows = [torch.randn(n, 8).to(dtype).requires_grad_() for n in (5, 5, 9)]
    same = [row.detach().float().requires_grad_() for row in rows]
    weights = torch.tensor([1, 2, 1, 3, 1])
    total, expected = info_nce(*rows, 0.05, weights=weights), info_nce(*same, 0.05, weights=weights)
    assert total.dtype == torch.float32
    assert torch.equal(total, expected)
    total.backward()
    expected.backward()
    for row, wide in zip(rows, same):
        assert row.grad.dtype == dtype
        torch.testing.assert_close(row.grad.float(), wide.grad, rtol=2e-2, atol=1e-2)


def test_mixed_precision_does_not_reach_the_products() -> None:
    rows = [torch.randn(6, 8) for _ in range(3)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce(*rows, 0.1)
    assert torch.equal(inside, info_nce(*rows, 0.1))


@pytest.mark.parametrize("product", [500.0, -500.0])
def test_large_products_stay_finite_and_exact(product: float) -> None:
    side = math.sqrt(abs(product))
    anchors = torch.full((3, 1), side, requires_grad=True)
    candidates = torch.full((4, 1), math.copysign(side, product), requires_grad=True)
    total = log_sum_exp(anchors, candidates)
    assert total.item() == pytest.approx(3 * (product + math.log(4)), rel=1e-6)
    assert_finite_with_gradient(total, anchors, candidates)


def test_products_of_both_signs_leave_the_largest() -> None:
    anchors = torch.tensor([[500.0], [-500.0]], requires_grad=True)
    candidates = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    total = log_sum_exp(anchors, candidates)
    assert total.item() == pytest.approx(1000.0, rel=1e-6)
    gradients = torch.autograd.grad(total, (anchors, candidates))
    assert gradients[0].tolist() == [[1.0], [-1.0]]
    assert gradients[1].tolist() == [[500.0], [-500.0]]


def test_a_bound_saves_the_search_and_changes_nothing() -> None:
    anchors, candidates = 5 * unit_rows(torch.randn(9, 4)), unit_rows(torch.randn(8, 4))
    torch.testing.assert_close(
        log_sum_exp(anchors, candidates, bound=5.0), log_sum_exp(anchors, candidates)
    )
    # A bound above what float32 holds must not be taken for one.
    assert bool(log_sum_exp(anchors * 100, candidates, bound=500.0).isfinite())


def test_nan_is_not_hidden() -> None:
    rows = torch.randn(3, 2)
    bad = rows.clone()
    bad[1, 0] = float("nan")
    assert bool(info_nce(bad, rows, rows, 0.1).isnan())
    assert bool(info_nce(rows, rows, bad, 0.1).isnan())


def test_bad_arguments() -> None:
    rows = torch.randn(4, 3)
    for tau in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            info_nce(rows, rows, rows, tau)
    with pytest.raises(ValueError, match=r"each anchor needs its positive.*\(4, 3\) and \(3, 3\)"):
        info_nce(rows, rows[:3], rows, 0.1)
    with pytest.raises(ValueError, match="matrices of one width"):
        info_nce(rows, rows, torch.randn(4, 2), 0.1)
    with pytest.raises(ValueError, match="matrices of one width"):
        log_sum_exp(rows[0], rows)
    with pytest.raises(ValueError, match="at least one candidate"):
        log_sum_exp(rows, rows[:0])
    with pytest.raises(ValueError, match="at least one candidate"):
        log_sum_exp(rows[:0], rows[:0])
    with pytest.raises(ValueError, match=r"4 anchors need as many weights, got \(3,\)"):
        log_sum_exp(rows, rows, weights=torch.ones(3))

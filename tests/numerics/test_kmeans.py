from __future__ import annotations

import importlib

import pytest
import torch
from alignment.equations import naive
from alignment.equations.samples import assert_finite_with_gradient, matrices
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.numerics import centers_of, kmeans


def blobs(k: int, each: int, spread: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """k groups around corners 10 apart, interleaved; the rows and the group of each."""
    groups = torch.arange(k * each) % k
    corners = 10.0 * torch.eye(k, 8, dtype=torch.float64)
    return corners[groups] + spread * torch.randn(k * each, 8, dtype=torch.float64), groups


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_equals_the_loop_from_the_same_start(k: int, iterations: int) -> None:
    rows = torch.randn(60, 4, dtype=torch.float64)
    start = rows[:k] + 0.01  # near rows of the sample, so that no cluster is ever empty
    labels, centers = kmeans(rows, k, init_centers=start, iterations=iterations)
    expected_labels, expected = naive.lloyd(rows.tolist(), start.tolist(), iterations)
    assert labels.tolist() == expected_labels
    torch.testing.assert_close(centers, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("most", [1, 700, 1 << 18])
def test_many_clusters_in_blocks_equal_the_loop(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("recbole_darec.numerics.kmeans")
    monkeypatch.setattr(module, "_CPU_ELEMENTS", most)
    rows = torch.randn(150, 4, dtype=torch.float64)
    start = rows[:90] + 0.01
    labels, centers = kmeans(rows, 90, init_centers=start, iterations=3)
    expected_labels, expected = naive.lloyd(rows.tolist(), start.tolist(), 3)
    assert labels.tolist() == expected_labels
    torch.testing.assert_close(centers, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("elements", [1, 500, 1 << 20])
def test_means_are_the_same_in_blocks(elements: int) -> None:
    module = importlib.import_module("recbole_darec.numerics.kmeans")
    rows, labels = torch.randn(50, 3, dtype=torch.float64), torch.randint(80, (50,))
    expected, counts = centers_of(rows, labels, 80)
    assert 0 in counts
    for means, found in (
        module._means_in_blocks(rows, labels, 80, elements),
        module._means(rows, labels, 80),
    ):
        torch.testing.assert_close(means, expected)
        assert torch.equal(found, counts)


@pytest.mark.parametrize("seed", range(10))
def test_well_separated_groups_are_found_from_a_cold_start(seed: int) -> None:
    rows, groups = blobs(5, 20)
    labels, _ = kmeans(rows, 5, generator=torch.Generator().manual_seed(seed))
    found = {(a, b) for a, b in zip(groups.tolist(), labels.tolist())}
    assert len(found) == 5


def test_same_generator_same_clusters() -> None:
    rows = torch.randn(200, 6)
    first = kmeans(rows, 7, generator=torch.Generator().manual_seed(3))
    again = kmeans(rows, 7, generator=torch.Generator().manual_seed(3))
    other = kmeans(rows, 7, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_cold_start_draws_in_proportion_to_the_squared_distance() -> None:
    # The first row is drawn evenly; after 0 comes 1 with probability 1/5 and 2 with 4/5.
    from recbole_darec.numerics.kmeans import _spread_rows

    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor([[0.0], [1.0], [2.0]])
    draws = [tuple(_spread_rows(rows, 2, generator)[:, 0].tolist()) for _ in range(3000)]
    firsts = [first for first, _ in draws]
    seconds = [second for first, second in draws if first == 0.0]
    # Bounds are four standard deviations of the binomial counts.
    for start in (0.0, 1.0, 2.0):
        assert abs(firsts.count(start) - 1000) < 4 * (3000 * 2 / 9) ** 0.5
    assert seconds.count(0.0) == 0
    share = seconds.count(2.0) / len(seconds)
    assert abs(share - 0.8) < 4 * (0.16 / len(seconds)) ** 0.5


def test_cold_start_takes_every_distinct_row_before_any_twice() -> None:
    rows = torch.tensor([[1.0, 0.0]] * 50 + [[0.0, 1.0]] + [[5.0, 5.0]])
    for seed in range(20):
        labels, _ = kmeans(rows, 3, generator=torch.Generator().manual_seed(seed), iterations=1)
        assert len(set(labels.tolist())) == 3


def test_a_cluster_without_rows_moves_and_lives_again() -> None:
    rows, groups = blobs(4, 10)
    start = rows[:4].clone()  # a row of each group
    start[1] = 1e3
    labels, centers = kmeans(rows, 4, init_centers=start, iterations=3)
    assert torch.equal(labels, groups)
    torch.testing.assert_close(centers, centers_of(rows, labels, 4)[0])


@pytest.mark.parametrize("k", [3, 100])
def test_clusters_without_rows_move_to_the_farthest_ones_in_turn(k: int) -> None:
    rows = torch.randn(300, 4, dtype=torch.float64)
    start = rows[:k].clone()
    start[1:] = 1e3  # all rows go to the first
    _, centers = kmeans(rows, k, init_centers=start, iterations=1)
    farthest = (rows - start[0]).square().sum(1).argsort(descending=True)
    assert torch.equal(centers[1:], rows[farthest[: k - 1]])


def test_equal_starts_come_apart() -> None:
    rows = torch.randn(50, 3)
    labels, _ = kmeans(rows, 4, init_centers=torch.zeros(4, 3), iterations=4)
    assert torch.bincount(labels, minlength=4).min() > 0


@given(matrices, st.integers(1, 12), st.integers(1, 4), st.booleans(), st.integers(0, 99))
def test_degenerate_input_is_always_clustered(
    rows: torch.Tensor, k: int, iterations: int, warm: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = rows[torch.arange(k) // 2 % len(rows)] if warm else None  # with equal centers
    labels, centers = kmeans(
        rows, k, init_centers=start, iterations=iterations, generator=generator
    )
    assert labels.shape == rows.shape[:1]
    assert labels.dtype == torch.int64
    assert labels.min() >= 0
    assert labels.max() < k
    assert centers.shape == (k, rows.shape[1])
    assert centers.isfinite().all()
    assert not centers.requires_grad
    if start is not None and iterations == 1:
        distances = torch.cdist(rows, start)
        excess = distances.gather(1, labels.unsqueeze(1)).squeeze(1) - distances.min(1).values
        assert (excess <= 1e-6 * rows.abs().max()).all()
    means, counts = centers_of(rows, labels, k)
    torch.testing.assert_close(centers[counts > 0], means[counts > 0])
    # A cluster that stayed empty stands on one of the rows, ready for the next step.
    for center in centers[counts == 0]:
        assert (rows == center).all(1).any()


def test_half_precision_and_no_gradient() -> None:
    rows = torch.randn(30, 4).half().requires_grad_()
    labels, centers = kmeans(rows, 3)
    assert centers.dtype == torch.float32
    assert not centers.requires_grad
    assert labels.shape == (30,)


def test_bad_arguments() -> None:
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match="at least one row"):
        kmeans(rows[:0], 2)
    with pytest.raises(ValueError, match="at least 1, got 0 and 10"):
        kmeans(rows, 0)
    with pytest.raises(ValueError, match="at least 1, got 2 and 0"):
        kmeans(rows, 2, iterations=0)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3, 3\)"):
        kmeans(rows, 2, init_centers=rows[:3])


def test_centers_are_the_means_of_the_members() -> None:
    rows = torch.randn(40, 5, dtype=torch.float64)
    labels = torch.arange(40) % 3
    centers, counts = centers_of(rows, labels, 3)
    expected = naive.means(rows.tolist(), labels.tolist(), 3)
    torch.testing.assert_close(centers, torch.tensor(expected, dtype=torch.float64))
    assert counts.tolist() == [14, 13, 13]


def test_gradient_flows_through_the_means() -> None:
    rows = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 3, 3, 1, 0])  # cluster 2 is empty
    assert torch.autograd.gradcheck(lambda r: centers_of(r, labels, 4)[0], (rows,))


@given(matrices, st.integers(1, 12), st.integers(0, 99))
def test_empty_clusters_have_zero_centers_and_finite_gradients(
    rows: torch.Tensor, k: int, seed: int
) -> None:
    rows.requires_grad_()
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, rows.shape[:1], generator=source)
    centers, counts = centers_of(rows, labels, k)
    assert counts.tolist() == torch.bincount(labels, minlength=k).tolist()
    assert centers[counts == 0].eq(0).all()
    assert_finite_with_gradient(centers.square().sum(), rows)

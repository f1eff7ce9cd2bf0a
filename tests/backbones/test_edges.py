"""Edge kernels against dense matrices, loops and finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.backbones.edges import (
    EdgePattern,
    edge_dots,
    row_normalized,
    row_sums,
    weighted_sum,
)
from recbole_darec.backbones.graph import BipartiteGraph


def pattern_of(n_nodes: int, share: float, seed: int) -> EdgePattern:
    """Random directed edges, shuffled; some nodes have none."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.rand(n_nodes, n_nodes, generator=generator) < share).nonzero(
        as_tuple=True
    )
    order = torch.randperm(len(rows), generator=generator)
    return EdgePattern.from_edges(rows[order], columns[order], n_nodes)


patterns = st.builds(
    pattern_of,
    n_nodes=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    seed=st.integers(0, 1000),
)


@given(patterns)
def test_a_pattern_and_its_transpose_have_the_same_edges(pattern: EdgePattern) -> None:
    values = torch.arange(1.0, len(pattern.columns) + 1)
    dense = pattern.matrix(values).to_dense()
    assert torch.equal(pattern.transpose(values).to_dense(), dense.T)
    edges = list(zip(pattern.rows.tolist(), pattern.columns.tolist()))
    assert edges == sorted(set(edges))
    assert [int(dense[i, j]) for i, j in edges] == [int(v) for v in values]


@given(patterns, st.integers(1, 4))
def test_the_kernels_are_their_loops(pattern: EdgePattern, width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    left, right = torch.randn(2, pattern.n_nodes, width, generator=generator, dtype=torch.float64)
    values = torch.rand(len(pattern.columns), generator=generator, dtype=torch.float64)
    dots, summed = torch.zeros_like(values), torch.zeros_like(left)
    sums = torch.zeros(pattern.n_nodes, dtype=torch.float64)
    for edge, (i, j) in enumerate(zip(pattern.rows.tolist(), pattern.columns.tolist())):
        dots[edge] = sum(float(a) * float(b) for a, b in zip(left[i], right[j]))
        summed[i] += values[edge] * right[j]
        sums[i] += values[edge]
    shares = [float(v) / (float(sums[i]) + 0.5) for v, i in zip(values, pattern.rows)]
    torch.testing.assert_close(edge_dots(pattern, left, right), dots)
    torch.testing.assert_close(weighted_sum(pattern, values, right), summed)
    torch.testing.assert_close(row_sums(pattern, values), sums)
    assert row_normalized(pattern, values, 0.5).tolist() == pytest.approx(shares)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_gradients_are_those_of_finite_differences(share: float) -> None:
    pattern = pattern_of(6, share, seed=1)
    left, right = (torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    values = torch.rand(len(pattern.columns), dtype=torch.float64, requires_grad=True)
    heads = torch.rand(len(pattern.columns), 2, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(lambda a, b: edge_dots(pattern, a, b), (left, right))
    assert check(lambda v, x: weighted_sum(pattern, v, x), (values, right))
    assert check(lambda v: row_normalized(pattern, v, 1e-3), (values,))
    assert check(lambda v: row_normalized(pattern, v), (heads,))


def test_a_row_of_zeros_stays_one_without_a_nan() -> None:
    pattern = pattern_of(4, 1.0, seed=0)
    values = torch.zeros(16, requires_grad=True)
    shares = row_normalized(pattern, values)
    shares.sum().backward()
    assert shares.tolist() == [0.0] * 16
    assert bool(values.grad.isfinite().all())


def test_a_graphs_pattern_is_in_the_order_of_its_edges() -> None:
    graph = BipartiteGraph.from_interactions([1, 1, 2, 3], [1, 2, 2, 1], 4, 3)
    pattern = EdgePattern.of(graph)
    dense = graph.matrix().to_dense()
    assert torch.equal(pattern.matrix(graph.values).to_dense(), dense)
    values = torch.rand(len(graph.values))
    assert torch.equal(pattern.transpose(values).to_dense(), pattern.matrix(values).to_dense().T)


def test_half_precision_is_computed_in_float32() -> None:
    pattern, rows = pattern_of(5, 0.5, seed=2), torch.randn(5, 2).half()
    assert edge_dots(pattern, rows, rows).dtype == torch.float32
    assert weighted_sum(pattern, torch.ones(len(pattern.columns)).half(), rows).dtype == (
        torch.float32
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("heads", [(), (4,)])
def test_a_gpu_sums_edges_to_the_same_bits_each_time(heads: tuple[int, ...]) -> None:
    on_cpu = pattern_of(300, 0.5, seed=3)
    on_gpu = EdgePattern(**{name: field.cuda() for name, field in vars(on_cpu).items()})
    values = torch.rand(len(on_cpu.columns), *heads)
    grads = torch.randn(len(on_cpu.columns), *heads)

    def both(pattern: EdgePattern) -> tuple[torch.Tensor, torch.Tensor]:
        device = pattern.columns.device
        asked = values.to(device).requires_grad_()
        shares = row_normalized(pattern, asked)
        return shares, torch.autograd.grad(shares, asked, grads.to(device))[0]

    first, *others = [both(on_gpu) for _ in range(20)]
    for ours, wanted in zip(first, both(on_cpu)):
        torch.testing.assert_close(ours.cpu(), wanted, rtol=1e-5, atol=1e-7)
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other))

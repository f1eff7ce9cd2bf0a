"""Propagation over CSR, against dense matrices and dense autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.backbones.propagation import BipartiteGraph, aggregate_layers


def dense_adjacency(pairs: list[tuple[int, int]], n_users: int, n_items: int) -> np.ndarray:
    """D^-1/2 A D^-1/2 entry by entry, with RecBole's 1e-7 beside each degree."""
    n_nodes = n_users + n_items
    adjacency = np.zeros((n_nodes, n_nodes))
    for user, item in pairs:
        adjacency[user, n_users + item] = adjacency[n_users + item, user] = 1.0
    degree = adjacency.sum(1) + 1e-7
    for i in range(n_nodes):
        for j in range(n_nodes):
            adjacency[i, j] /= np.sqrt(degree[i] * degree[j])
    return adjacency


def graph_of(pairs: list[tuple[int, int]], n_users: int, n_items: int) -> BipartiteGraph:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return BipartiteGraph.from_interactions(users, items, n_users, n_items)


def layers_of(ego: torch.Tensor, matrix: torch.Tensor, n_layers: int, how: str) -> torch.Tensor:
    layers = [ego]
    for _ in range(n_layers):
        layers.append(matrix @ layers[-1])
    stacked = torch.stack(layers)
    return stacked.mean(0) if how == "mean" else stacked.sum(0)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int, int]:
    """Pairs with repetitions, over more ids than they use: some nodes are isolated."""
    n_users, n_items = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    pair = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    return draw(st.lists(pair, min_size=1, max_size=25)), n_users, n_items


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_graph_is_the_normalised_adjacency(graph: tuple) -> None:
    built = graph_of(*graph)
    expected = torch.from_numpy(dense_adjacency(*graph))
    torch.testing.assert_close(built.matrix().to_dense().double(), expected, rtol=1e-6, atol=1e-7)
    assert built.n_nodes == graph[1] + graph[2]
    assert bool((built.values > 0).all())


@settings(max_examples=40, deadline=None)
@given(graphs(), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_a_dropped_graph_and_its_transpose_are_each_others_mirror(
    graph: tuple, keep_rate: float, seed: int
) -> None:
    torch.manual_seed(seed)
    built = graph_of(*graph)
    matrix, transpose = (m.to_dense() for m in built.drop_edges(keep_rate))
    assert torch.equal(matrix.T, transpose)
    whole = built.matrix().to_dense()
    assert torch.equal(matrix, torch.where(matrix != 0, whole, 0.0))


@settings(max_examples=25, deadline=None)
@given(graphs(), st.integers(0, 4), st.sampled_from(["mean", "sum"]), st.sampled_from([1.0, 0.6]))
def test_value_and_gradient_are_those_of_the_dense_product_with_the_same_edges(
    graph: tuple, n_layers: int, how: str, keep_rate: float
) -> None:
    built = graph_of(*graph)
    generator = torch.Generator().manual_seed(3)
    ego = torch.randn(built.n_nodes, 5, generator=generator, requires_grad=True)
    weight = torch.randn(built.n_nodes, 5, generator=generator)
    torch.manual_seed(11)
    value = aggregate_layers(ego, built, n_layers, how=how, keep_rate=keep_rate)
    (value * weight).sum().backward()

    torch.manual_seed(11)
    matrix = built.drop_edges(keep_rate)[0] if keep_rate < 1 else built.matrix()
    same = ego.detach().double().requires_grad_()
    expected = layers_of(same, matrix.to_dense().double(), n_layers, how)
    (expected * weight.double()).sum().backward()
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ego.grad.double(), same.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_the_sum_of_layers_is_their_mean_times_their_number(n_layers: int) -> None:
    graph = graph_of([(0, 0), (0, 1), (2, 1)], 3, 3)
    ego = torch.randn(6, 4)
    total = aggregate_layers(ego, graph, n_layers, how="sum")
    mean = aggregate_layers(ego, graph, n_layers, how="mean")
    torch.testing.assert_close(total, (n_layers + 1) * mean)


def test_an_isolated_node_keeps_its_own_embedding() -> None:
    graph = graph_of([(0, 0)], 3, 2)
    ego = torch.randn(5, 4, requires_grad=True)
    total = aggregate_layers(ego, graph, 3, how="sum")
    assert torch.equal(total[[1, 2, 4]], ego[[1, 2, 4]])
    total.sum().backward()
    assert torch.equal(ego.grad[[1, 2, 4]], torch.ones(3, 4))


def test_repeated_pairs_are_one_edge() -> None:
    once, thrice = graph_of([(0, 0), (1, 0)], 2, 1), graph_of([(0, 0), (1, 0), (0, 0)], 2, 1)
    assert torch.equal(once.matrix().to_dense(), thrice.matrix().to_dense())


def test_edges_are_kept_at_the_rate_asked_for_and_not_rescaled() -> None:
    pairs = [(u, i) for u in range(60) for i in range(60)]
    graph = graph_of(pairs, 60, 60)
    torch.manual_seed(0)
    kept = graph.drop_edges(0.8)[0].values()
    share = float((kept > 0).float().mean())
    # 7,200 draws: four standard deviations are 0.019.
    assert share == pytest.approx(0.8, abs=0.019)
    torch.testing.assert_close(kept[kept > 0], graph.values[kept > 0])
    torch.manual_seed(0)
    rescaled = graph.drop_edges(0.8, rescale=True)[0].values()
    torch.testing.assert_close(rescaled, kept / 0.8)


def test_the_two_directions_of_an_edge_are_dropped_independently() -> None:
    graph = graph_of([(u, i) for u in range(30) for i in range(30)], 30, 30)
    torch.manual_seed(0)
    matrix = graph.drop_edges(0.5)[0].to_dense() > 0
    assert bool((matrix != matrix.T).any())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_graph_product_stays_in_float32_under_mixed_precision(dtype: torch.dtype) -> None:
    graph = graph_of([(0, 0), (1, 0), (1, 1)], 2, 2)
    ego = torch.randn(4, 3).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = aggregate_layers(ego, graph, 2, how="sum")
    assert value.dtype == torch.float32
    expected = aggregate_layers(ego.detach().float(), graph, 2, how="sum")
    assert torch.equal(value, expected)
    value.sum().backward()
    assert ego.grad.dtype == dtype
    assert bool(ego.grad.isfinite().all())

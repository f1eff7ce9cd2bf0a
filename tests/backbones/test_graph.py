"""The user-item graph: its normalised adjacency entry by entry, and what dropped edges leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.backbones.graph import BipartiteGraph


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


def graph_of(
    pairs: list[tuple[int, int]], n_users: int, n_items: int, self_loops: bool = False
) -> BipartiteGraph:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return BipartiteGraph.from_interactions(users, items, n_users, n_items, self_loops=self_loops)


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


def test_the_two_directions_of_an_edge_are_dropped_independently() -> None:
    graph = graph_of([(u, i) for u in range(30) for i in range(30)], 30, 30)
    torch.manual_seed(0)
    matrix = graph.drop_edges(0.5)[0].to_dense() > 0
    assert bool((matrix != matrix.T).any())


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_a_subgraph_is_the_normalised_adjacency_of_the_kept_pairs(
    graph: tuple, data: st.DataObject
) -> None:
    pairs, n_users, n_items = graph
    distinct = sorted(set(pairs))
    kept = data.draw(st.lists(st.booleans(), min_size=len(distinct), max_size=len(distinct)))
    sub = graph_of(*graph).subgraph(torch.tensor(kept))
    expected = dense_adjacency([p for p, k in zip(distinct, kept) if k], n_users, n_items)
    torch.testing.assert_close(
        sub.matrix().to_dense().double(), torch.from_numpy(expected), rtol=1e-6, atol=1e-7
    )
    # Numbered, the edges tell whether the mirror images are the right ones.
    numbered = torch.arange(1.0, 1 + len(sub.columns))
    mirrored = sub.matrix(numbered[sub.transpose_order]).to_dense()
    assert torch.equal(sub.matrix(numbered).to_dense().T, mirrored)

"""AutoCF's masks: scores, seeds, what is cut out around them and what is put in, against loops."""

from __future__ import annotations

import math

import pytest
import torch
from alignment.equations import naive
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.naive import edges_of, edges_of_graph, naive_relatedness
from backbones.test_graph import graph_of, graphs
from recbole_darec.backbones.autocf_masking import (
    decoder_pattern,
    encoder_graph,
    gumbel_top_k,
    log_relatedness,
    masked_region,
    unweighted,
)
from recbole_darec.backbones.edges import EdgePattern
from recbole_darec.backbones.graph import BipartiteGraph

# ---- mask scores -------------------------------------------------------------------------------


@settings(max_examples=50)
@given(graphs(), st.booleans(), st.integers(0, 99))
def test_the_scores_are_their_loops(graph: tuple, self_loops: bool, seed: int) -> None:
    adjacency = unweighted(graph_of(*graph, self_loops))
    source = torch.Generator().manual_seed(seed)
    # Whole numbers, whose sums are exact: where a subgraph is zero, it is exactly zero.
    ego = torch.randint(-9, 10, (adjacency.n_nodes, 3), generator=source).float()
    expected = naive_relatedness(ego.double().tolist(), edges_of_graph(adjacency))
    assert log_relatedness(ego, adjacency).tolist() == pytest.approx(expected, abs=1e-5)


@given(graphs())
def test_with_self_loops_the_first_order_is_the_neighbours_sum(graph: tuple) -> None:
    # Of e the walk of two steps brings back one too few: f + s is Σ_2 + Σ_1 - e.
    adjacency = graph_of(*graph, self_loops=True)
    edges = edges_of_graph(graph_of(*graph, self_loops=False))
    ego = torch.randn(adjacency.n_nodes, 4, dtype=torch.float64)
    expected = []
    for node in range(len(ego)):
        near = [j for i, j in edges if i == node]
        subgraph = -ego[node]
        for j in near:
            subgraph = subgraph + ego[j]
            for i, k in edges:
                if i == j and k != node:
                    subgraph = subgraph + ego[k]
        expected.append(-math.log1p(math.exp(-naive.cosine(subgraph.tolist(), ego[node].tolist()))))
    found = log_relatedness(ego.float(), unweighted(adjacency))
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_scores_gradient_is_the_dense_one() -> None:
    graph = graph_of([(0, 0), (0, 1), (1, 1), (2, 0), (2, 2), (2, 1)], 4, 3, self_loops=True)
    adjacency = unweighted(graph)
    ego, weights = torch.randn(7, 5, requires_grad=True), torch.randn(7)
    (log_relatedness(ego, adjacency) * weights).sum().backward()

    matrix = adjacency.matrix().to_dense().double()
    same = ego.detach().double().requires_grad_()
    order = matrix.sum(1, keepdim=True)
    first = matrix @ same - same
    second = matrix @ first - first - order * same
    number = matrix @ order - order
    cosine = torch.nn.functional.cosine_similarity((first + second) / (number + 1e-8), same)
    (cosine.sigmoid().log() * weights.double()).sum().backward()
    assert float(same.grad.abs().max()) > 1e-2
    torch.testing.assert_close(ego.grad.double(), same.grad, rtol=1e-4, atol=1e-5)


def test_seeds_are_drawn_in_proportion_to_their_scores_without_replacement() -> None:
    torch.manual_seed(3)
    scores = torch.tensor([0.6, 0.3, 0.1])
    first = torch.cat([gumbel_top_k(scores.log(), 1) for _ in range(4000)])
    shares = torch.bincount(first, minlength=3) / 4000
    torch.testing.assert_close(shares, scores, rtol=0.0, atol=0.03)
    for count in range(4):
        drawn = gumbel_top_k(scores.log(), count).tolist()
        assert len(set(drawn)) == len(drawn) == count


def test_a_score_of_zero_is_drawn_last() -> None:
    scores = torch.tensor([0.0, 1e-30, 1.0]).log()
    assert all(0 not in gumbel_top_k(scores, 2).tolist() for _ in range(50))


# ---- masks -------------------------------------------------------------------------------------

regions = st.tuples(
    graphs(), st.booleans(), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99)
)


def drawn_region(given: tuple) -> tuple[BipartiteGraph, EdgePattern, torch.Tensor, int]:
    graph, self_loops, depth, n_seeds, seed = given
    whole = graph_of(*graph, self_loops)
    source = torch.Generator().manual_seed(seed)
    seeds = torch.randperm(whole.n_nodes, generator=source)[:n_seeds]
    return whole, EdgePattern.of(whole), seeds, depth


@given(regions)
def test_a_region_is_what_the_hops_cut_out_edge_by_edge(given: tuple) -> None:
    _, pattern, seeds, depth = drawn_region(given)
    left, reached, nodes = edges_of(pattern), set(seeds.tolist()), set(seeds.tolist())
    for hop in range(depth):
        removed = {(i, j) for i, j in left if i in nodes or j in nodes}
        left -= removed
        if hop < depth - 1:
            nodes = {node for edge in removed for node in edge}
            reached |= nodes
    kept, masked = masked_region(pattern, seeds, depth)
    found = {edge for edge, there in zip(_in_order(pattern), kept.tolist()) if there}
    assert found == left
    assert set(masked.nonzero().squeeze(1).tolist()) == reached


def _in_order(pattern: EdgePattern) -> list[tuple[int, int]]:
    return list(zip(pattern.rows.tolist(), pattern.columns.tolist()))


@given(regions)
def test_an_edge_is_left_if_and_only_if_neither_end_is_reached(given: tuple) -> None:
    _, pattern, seeds, depth = drawn_region(given)
    kept, masked = masked_region(pattern, seeds, depth)
    assert torch.equal(kept, ~(masked[pattern.rows] | masked[pattern.columns]))
    assert bool(masked[seeds].all())
    assert torch.equal(kept, kept[pattern.transpose_order]), "both directions or none"
    if depth > 1:
        shallower, fewer = masked_region(pattern, seeds, depth - 1)
        assert bool((shallower | ~kept).all())
        assert bool((masked | ~fewer).all())


@given(regions)
def test_the_encoders_graph_is_normalised_by_the_degrees_that_are_left(given: tuple) -> None:
    whole, pattern, seeds, depth = drawn_region(given)
    kept, _ = masked_region(pattern, seeds, depth)
    left = {edge for edge, there in zip(_in_order(pattern), kept.tolist()) if there}
    degree = [sum(i == node for i, _ in left) for node in range(whole.n_nodes)]
    expected = torch.zeros(whole.n_nodes, whole.n_nodes)
    for i, j in left:
        expected[i, j] = 1.0 / math.sqrt(degree[i] * degree[j])
    graph = encoder_graph(whole, pattern, kept)
    torch.testing.assert_close(graph.matrix().to_dense(), expected)
    values = torch.arange(1.0, len(graph.values) + 1)
    mirrored = graph.matrix(values[graph.transpose_order]).to_dense()
    assert torch.equal(mirrored, graph.matrix(values).to_dense().T)


@given(regions)
def test_the_decoder_sees_the_rest_the_nodes_themselves_and_random_masked_pairs(
    given: tuple,
) -> None:
    whole, pattern, seeds, depth = drawn_region(given)
    kept, masked = masked_region(pattern, seeds, depth)
    nodes = masked.nonzero().squeeze(1)
    torch.manual_seed(0)
    found = decoder_pattern(pattern, kept, nodes)
    torch.manual_seed(0)
    drawn = torch.randint(len(nodes), (2, len(pattern.columns)))
    random = {(int(nodes[a]), int(nodes[b])) for a, b in drawn.T.tolist()}
    assert len(drawn.T) == len(edges_of(pattern)), "as many as there are edges"
    expected = {edge for edge, there in zip(_in_order(pattern), kept.tolist()) if there}
    expected |= {(n, n) for n in range(whole.n_nodes)} | random | {(j, i) for i, j in random}
    assert _in_order(found) == sorted(expected), "each pair once"

"""Propagation over CSR, against dense matrices and dense autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.test_graph import graph_of, graphs
from recbole_darec.backbones.propagation import aggregate_layers, aggregate_over


def layers_of(ego: torch.Tensor, matrix: torch.Tensor, n_layers: int, how: str) -> torch.Tensor:
    layers = [ego]
    for _ in range(n_layers):
        layers.append(matrix @ layers[-1])
    stacked = torch.stack(layers)
    return stacked.mean(0) if how == "mean" else stacked.sum(0)


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


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(0, 3), st.booleans(), st.sampled_from(["mean", "sum"]))
def test_another_graph_in_each_layer_has_the_value_and_gradient_of_dense_products(
    graph: tuple, n_layers: int, include_ego: bool, how: str
) -> None:
    whole = graph_of(*graph)
    generator = torch.Generator().manual_seed(5)
    n_pairs = len(whole.columns) // 2
    layers = [
        whole.subgraph(torch.rand(n_pairs, generator=generator) < 0.7) for _ in range(n_layers)
    ]
    ego = torch.randn(whole.n_nodes, 3, generator=generator, requires_grad=True)
    weight = torch.randn(whole.n_nodes, 3, generator=generator)
    value = aggregate_over(ego, layers, how=how, include_ego=include_ego)
    (value * weight).sum().backward()

    same = ego.detach().double().requires_grad_()
    products = [same]
    for layer in layers:
        products.append(layer.matrix().to_dense().double() @ products[-1])
    if not include_ego:
        products[0] = 0.0 * same
        products = products[1:] or products
    stacked = torch.stack(products)
    expected = stacked.mean(0) if how == "mean" else stacked.sum(0)
    (expected * weight.double()).sum().backward()
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ego.grad.double(), same.grad, rtol=1e-5, atol=1e-6)


def test_one_graph_in_all_layers_is_what_lightgcn_aggregates() -> None:
    graph, ego = graph_of([(0, 0), (0, 1), (2, 1)], 3, 3), torch.randn(6, 4)
    for how in ("mean", "sum"):
        torch.testing.assert_close(
            aggregate_over(ego, [graph] * 3, how=how), aggregate_layers(ego, graph, 3, how=how)
        )

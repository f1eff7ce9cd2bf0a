"""Propagation over the normalised user-item graph, with the gradient known.

Where the adjacency is symmetric, the gradient of ``A @ x`` is ``A @ g``: no transpose, no sparse
gradient.  Where edges are dropped, it is the product with the transpose that the graph gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.numerics import by_columns, csr_product

__all__ = [
    "aggregate_layers",
    "aggregate_over",
    "gradient_over",
    "n_aggregated",
    "propagate_layers",
]


class _AggregateLayers(torch.autograd.Function):
    """Sum of ``A^l x`` over the layers; its gradient is the same sum with the transpose."""

    @staticmethod
    def forward(
        ctx: Any, ego: Tensor, matrix: Tensor, transpose: Tensor, n_layers: int, mean: bool
    ) -> Tensor:
        ctx.transpose = transpose
        ctx.n_layers = n_layers
        ctx.mean = mean
        ctx.dtype = ego.dtype
        return _sum_of_powers(matrix, ego.float(), n_layers, mean)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = _sum_of_powers(ctx.transpose, grads[0].float(), ctx.n_layers, ctx.mean)
        return grad.to(ctx.dtype), None, None, None, None


def _sum_of_powers(matrix: Tensor, rows: Tensor, n_layers: int, mean: bool) -> Tensor:
    # x + A (x + A (x + ...)): a product and a sum in its place for each layer.
    total = rows
    for _ in range(n_layers):
        total = csr_product(matrix, total).add_(rows)
    return total.div_(n_layers + 1) if mean and n_layers else total


def aggregate_layers(
    ego: Tensor,
    graph: BipartiteGraph,
    n_layers: int,
    *,
    how: str = "mean",
    keep_rate: float = 1.0,
) -> Tensor:
    """Propagate ``ego`` over ``n_layers`` and aggregate layers ``0 .. n_layers``.

    LightGCN, equations (3) and (4) (He et al., SIGIR 2020), with ``alpha_l = 1 / (L + 1)``
    (``how="mean"``, RecBole and the LightGCN paper) or ``alpha_l = 1`` (``how="sum"``, RLMRec and
    DaRec).

    Args:
        ego: float ``[n_nodes, d]``, the users' embeddings above the items'.
        graph: the normalised adjacency.
        n_layers: number of propagation layers ``L``.
        how: ``"mean"`` or ``"sum"``.
        keep_rate: share of the edges kept in this call; 1 keeps all of them.

    Returns:
        float32 ``[n_nodes, d]``.
    """
    matrix, transpose = graph.matrices(keep_rate)

    def aggregated(columns: Tensor) -> Tensor:
        found: Tensor = _AggregateLayers.apply(  # type: ignore[no-untyped-call]
            columns, matrix, transpose, n_layers, how == "mean"
        )
        return found

    return by_columns(aggregated, ego)


class _PropagateLayers(torch.autograd.Function):
    """The layers ``A x, A^2 x, ...``; the gradient collects theirs on its way back."""

    @staticmethod
    def forward(
        ctx: Any, ego: Tensor, matrix: Tensor, transpose: Tensor, n_layers: int
    ) -> tuple[Tensor, ...]:
        ctx.transpose = transpose
        # A layer that no loss looks at has no gradient, instead of one of zeros.
        ctx.set_materialize_grads(False)
        layers = [ego]
        for _ in range(n_layers):
            layers.append(csr_product(matrix, layers[-1]))
        return tuple(layers[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        carried: Tensor | None = None
        for grad in reversed(grads):
            if grad is not None:
                # A slice of a wider gradient, made dense for the product.
                carried = grad.contiguous() if carried is None else carried + grad
            if carried is not None:
                carried = csr_product(ctx.transpose, carried)
        return carried, None, None, None


def propagate_layers(
    ego: Tensor, graph: BipartiteGraph, n_layers: int, *, keep_rate: float = 1.0
) -> tuple[Tensor, ...]:
    """Propagate ``ego`` and return each layer by itself, ``A^l x`` for ``l = 0 .. n_layers``.

    For backbones that do more with the layers than add them up: LR-GCCF concatenates them, NCL
    contrasts two of them.  The gradient is ``g_0 + A(g_1 + A(g_2 + ...))``, one product per layer.

    Args:
        ego: float ``[n_nodes, d]``, the users' embeddings above the items'.
        graph: the normalised adjacency, values symmetric.
        n_layers: number of propagation layers ``L``.
        keep_rate: share of the edges kept in this call; 1 keeps all of them.

    Returns:
        ``n_layers + 1`` tensors, float32 ``[n_nodes, d]``, the first one ``ego`` itself.
    """
    ego = ego.float()
    if not n_layers:
        return (ego,)
    matrix, transpose = graph.matrices(keep_rate)
    layers: tuple[Tensor, ...] = _PropagateLayers.apply(  # type: ignore[no-untyped-call]
        ego, matrix, transpose, n_layers
    )
    return (ego, *layers)


class _AggregateOver(torch.autograd.Function):
    """Sum of the layers, each propagated over a symmetric matrix of its own."""

    @staticmethod
    def forward(ctx: Any, ego: Tensor, matrices: Sequence[Tensor], include_ego: bool) -> Tensor:
        ctx.matrices = matrices
        ctx.include_ego = include_ego
        ctx.dtype = ego.dtype
        layer = ego.float()
        total = layer if include_ego else torch.zeros_like(layer)
        for matrix in matrices:
            layer = csr_product(matrix, layer)
            total = total + layer
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = gradient_over(ctx.matrices, grads[0].float(), ctx.include_ego)
        return grad.to(ctx.dtype), None, None


def gradient_over(matrices: Sequence[Tensor], grad: Tensor, include_ego: bool) -> Tensor:
    """Return the gradient of a sum of layers with respect to layer 0.

    It is ``g + A_1 (g + A_2 (g + ...))``, without the first ``g`` where layer 0 is left out.

    Args:
        matrices: the symmetric matrix ``A_l`` of each layer, ``[n_nodes, n_nodes]``.
        grad: ``g``, the gradient of the sum, float32 ``[n_nodes, d]``.
        include_ego: whether layer 0 is part of the sum.

    Returns:
        float32 ``[n_nodes, d]``.
    """
    carried: Tensor | None = None
    for matrix in reversed(matrices):
        carried = csr_product(matrix, grad if carried is None else grad + carried)
    if carried is None:
        return grad if include_ego else torch.zeros_like(grad)
    return grad + carried if include_ego else carried


def n_aggregated(n_layers: int, include_ego: bool) -> int:
    """Return how many layers are aggregated, at least 1: what a mean divides by."""
    return max(1, n_layers + include_ego)


def aggregate_over(
    ego: Tensor,
    graphs: Sequence[BipartiteGraph],
    *,
    how: str = "mean",
    include_ego: bool = True,
) -> Tensor:
    """Propagate ``ego`` over one graph per layer and aggregate the layers.

    SGL's random walk has another graph in each layer (Wu et al., SIGIR 2021, section 3.1.1);
    SimGCL has one graph and leaves layer 0 out (Yu et al., SIGIR 2022, section 3.2).

    Args:
        ego: float ``[n_nodes, d]``, the users' embeddings above the items'.
        graphs: the graph of each layer, values symmetric.
        how: ``"mean"`` or ``"sum"``.
        include_ego: whether layer 0 is among the aggregated ones.

    Returns:
        float32 ``[n_nodes, d]``.
    """
    matrices = [graph.matrix() for graph in graphs]

    def aggregated(columns: Tensor) -> Tensor:
        found: Tensor = _AggregateOver.apply(  # type: ignore[no-untyped-call]
            columns, matrices, include_ego
        )
        return found

    total = by_columns(aggregated, ego)
    return total / n_aggregated(len(graphs), include_ego) if how == "mean" else total

"""Propagation over the normalised user-item graph, on CSR, with the transposed product known.

The adjacency of LightGCN (He et al., SIGIR 2020, equation 3) is symmetric, so the gradient of
``A @ x`` is ``A @ g``: no transpose, no sparse gradient.  With edge dropout the matrix keeps its
symmetric pattern and loses its symmetric values; the values of the transpose are then the same
values in another, precomputed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.numerics import no_autocast

__all__ = [
    "BipartiteGraph",
    "aggregate_layers",
    "aggregate_over",
    "noisy_views",
    "propagate_layers",
]


@dataclass(frozen=True)
class BipartiteGraph:
    """The normalised adjacency ``D^-1/2 A D^-1/2`` of users and items, as CSR arrays.

    Rows and columns are the users (ids ``0 .. n_users - 1``) followed by the items.

    Attributes:
        row_starts: int64 ``[n_nodes + 1]``, CSR row pointer.
        columns: int64 ``[n_edges]``, CSR column indices, sorted within a row.
        values: float32 ``[n_edges]``.
        transpose_order: int64 ``[n_edges]``; ``values[transpose_order]`` are the values of the
            transpose in the same CSR pattern.
        self_loops: whether each node has an edge to itself, its own mirror image.
    """

    row_starts: Tensor
    columns: Tensor
    values: Tensor
    transpose_order: Tensor
    self_loops: bool = False

    @classmethod
    def from_interactions(
        cls,
        users: np.ndarray,
        items: np.ndarray,
        n_users: int,
        n_items: int,
        *,
        self_loops: bool = False,
    ) -> BipartiteGraph:
        """Build the graph of the given pairs; a repeated pair is one edge.

        Args:
            users: int ``[n_interactions]``, internal user ids.
            items: int ``[n_interactions]``, internal item ids.
            n_users: number of user ids, padding included.
            n_items: number of item ids, padding included.
            self_loops: whether each node gets an edge to itself, counted in its degree; a node
                without another one then keeps its embedding in every layer.
        """
        n_nodes = n_users + n_items
        half = sp.csr_matrix(
            (np.ones(len(users), dtype=np.float64), (users, np.asarray(items) + n_users)),
            shape=(n_nodes, n_nodes),
        )
        half.sum_duplicates()
        half.data[:] = 1.0
        adjacency = (half + half.T).tocsr()
        if self_loops:
            adjacency = adjacency + sp.identity(n_nodes, format="csr")
        adjacency.sort_indices()
        degree = np.diff(adjacency.indptr)
        # RecBole adds 1e-7 to every degree; kept, so that the values are RecBole's to rounding.
        scale = (degree + 1e-7) ** -0.5
        rows = np.repeat(np.arange(n_nodes), degree)
        values = scale[rows] * scale[adjacency.indices]
        # Sorting the edges by (column, row) lists, for each edge of the pattern, its mirror image.
        mirror = np.lexsort((rows, adjacency.indices))
        return cls(
            row_starts=torch.from_numpy(adjacency.indptr.astype(np.int64)),
            columns=torch.from_numpy(adjacency.indices.astype(np.int64)),
            values=torch.from_numpy(values.astype(np.float32)),
            transpose_order=torch.from_numpy(mirror),
            self_loops=self_loops,
        )

    @property
    def n_nodes(self) -> int:
        """Number of users and items, padding included."""
        return len(self.row_starts) - 1

    def to(self, device: Any) -> BipartiteGraph:
        """Return the graph with its arrays on ``device``."""
        names = ("row_starts", "columns", "values", "transpose_order")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def matrix(self, values: Tensor | None = None) -> Tensor:
        """Return the sparse CSR tensor ``[n_nodes, n_nodes]``, with other values if given."""
        return torch.sparse_csr_tensor(
            self.row_starts,
            self.columns,
            self.values if values is None else values,
            size=(self.n_nodes, self.n_nodes),
            check_invariants=False,
        )

    def drop_edges(self, keep_rate: float, rescale: bool = False) -> tuple[Tensor, Tensor]:
        """Drop each directed edge, loops among them, with probability ``1 - keep_rate``.

        RLMRec's released models drop the two directions of an edge independently and do not
        rescale what is left (``spec``: ``rescale=False``).

        Returns:
            The CSR matrix and its transpose, both ``[n_nodes, n_nodes]``.
        """
        kept = torch.rand(len(self.values), device=self.values.device) < keep_rate
        values = self.values * kept
        if rescale:
            values = values / keep_rate
        return self.matrix(values), self.matrix(values[self.transpose_order])

    def subgraph(self, kept: Tensor) -> BipartiteGraph:
        """Return the graph of some of the edges, normalised by the degrees that they leave.

        Args:
            kept: bool ``[n_edges / 2]``, on the graph's device: the undirected edges in the order
                of the users' rows, that is sorted by user and then by item.

        Raises:
            ValueError: the graph has self-loops, which are in no such order.
        """
        if self.self_loops:
            raise ValueError("a graph with self-loops has no subgraph of its user-item edges")
        half = len(self.columns) // 2
        # The users' rows come first, and hold each undirected edge once.
        both = torch.empty(len(self.columns), dtype=torch.bool, device=self.columns.device)
        both[:half] = kept
        both[self.transpose_order[:half]] = kept
        nodes = torch.arange(self.n_nodes, device=self.columns.device)
        rows = torch.repeat_interleave(nodes, self.row_starts.diff())[both]
        columns = self.columns[both]
        degree = torch.bincount(rows, minlength=self.n_nodes)
        scale = (degree.double() + 1e-7).rsqrt()
        return BipartiteGraph(
            row_starts=torch.cat([degree.new_zeros(1), degree.cumsum(0)]),
            columns=columns,
            values=(scale[rows] * scale[columns]).float(),
            transpose_order=(both.cumsum(0) - 1)[self.transpose_order[both]],
        )


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
    # Mixed precision has no sparse kernels: the graph product stays in float32.
    with torch.autocast(device_type=rows.device.type, enabled=False):
        total, layer = rows, rows
        for _ in range(n_layers):
            layer = matrix @ layer
            total = total + layer
        return total / (n_layers + 1) if mean else total


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
    if keep_rate < 1.0:
        matrix, transpose = graph.drop_edges(keep_rate)
    else:
        matrix = transpose = graph.matrix()
    aggregated: Tensor = _AggregateLayers.apply(  # type: ignore[no-untyped-call]
        ego, matrix, transpose, n_layers, how == "mean"
    )
    return aggregated


class _PropagateLayers(torch.autograd.Function):
    """The layers ``A x, A^2 x, ...``; gradients are added up on the way back through them."""

    @staticmethod
    def forward(
        ctx: Any, ego: Tensor, matrix: Tensor, transpose: Tensor, n_layers: int
    ) -> tuple[Tensor, ...]:
        ctx.transpose = transpose
        # A layer that no loss looks at has no gradient, instead of one of zeros.
        ctx.set_materialize_grads(False)
        layers = [ego]
        with no_autocast(ego):
            for _ in range(n_layers):
                layers.append(matrix @ layers[-1])
        return tuple(layers[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        behind: Tensor | None = None
        for grad in reversed(grads):
            if grad is not None:
                # A slice of a wider gradient, made dense for the product.
                behind = grad.contiguous() if behind is None else behind + grad
            if behind is not None:
                with no_autocast(behind):
                    behind = ctx.transpose @ behind
        return behind, None, None, None


def propagate_layers(
    ego: Tensor, graph: BipartiteGraph, n_layers: int, *, keep_rate: float = 1.0
) -> tuple[Tensor, ...]:
    """Propagate ``ego`` and return each layer by itself, ``A^l x`` for ``l = 0 .. n_layers``.

    For backbones that do more with the layers than to add them up: LR-GCCF concatenates them, NCL
    contrasts two of them.  The gradient is ``g_0 + A(g_1 + A(g_2 + ...))``, one product a layer.

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
    if keep_rate < 1.0:
        matrix, transpose = graph.drop_edges(keep_rate)
    else:
        matrix = transpose = graph.matrix()
    behind: tuple[Tensor, ...] = _PropagateLayers.apply(  # type: ignore[no-untyped-call]
        ego, matrix, transpose, n_layers
    )
    return (ego, *behind)


class _AggregateOver(torch.autograd.Function):
    """Sum of the layers over one symmetric matrix a layer."""

    @staticmethod
    def forward(ctx: Any, ego: Tensor, matrices: Sequence[Tensor], include_ego: bool) -> Tensor:
        ctx.matrices = matrices
        ctx.include_ego = include_ego
        ctx.dtype = ego.dtype
        layer = ego.float()
        total = layer if include_ego else torch.zeros_like(layer)
        with no_autocast(ego):
            for matrix in matrices:
                layer = matrix @ layer
                total = total + layer
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = _backward_over(ctx.matrices, grads[0].float(), ctx.include_ego)
        return grad.to(ctx.dtype), None, None


def _backward_over(matrices: Sequence[Tensor], grad: Tensor, include_ego: bool) -> Tensor:
    """Return ``g + A_1 (g + A_2 (g + ...))``, without the first ``g`` where layer 0 is left out."""
    behind: Tensor | None = None
    with no_autocast(grad):
        for matrix in reversed(matrices):
            behind = matrix @ (grad if behind is None else grad + behind)
    if behind is None:
        return grad if include_ego else torch.zeros_like(grad)
    return grad + behind if include_ego else behind


def _n_aggregated(n_layers: int, include_ego: bool) -> int:
    return max(1, n_layers + include_ego)


def aggregate_over(
    ego: Tensor,
    graphs: Sequence[BipartiteGraph],
    *,
    how: str = "mean",
    include_ego: bool = True,
) -> Tensor:
    """Propagate ``ego`` over one graph a layer and aggregate the layers.

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
    total: Tensor = _AggregateOver.apply(  # type: ignore[no-untyped-call]
        ego, matrices, include_ego
    )
    return total / _n_aggregated(len(graphs), include_ego) if how == "mean" else total


class _NoisyViews(torch.autograd.Function):
    """Views that differ in the noise after each layer.

    The noise has the sign of what it is added to, whose derivative is 0: to the gradient it is a
    constant, and all views have the gradient of the propagation without it.  They are propagated
    side by side, and what comes back is added before it is propagated.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ego: Tensor,
        matrix: Tensor,
        n_layers: int,
        noise: float,
        include_ego: bool,
        n_views: int,
    ) -> Tensor:
        ctx.matrices = [matrix] * n_layers
        ctx.include_ego = include_ego
        ctx.dtype = ego.dtype
        n_nodes, width = ego.shape
        layer = ego.float()
        shape = (n_nodes, n_views, width)
        total = layer.unsqueeze(1).repeat(1, n_views, 1) if include_ego else layer.new_zeros(shape)
        with no_autocast(ego):
            for _ in range(n_layers):
                # The first product is the same in all views.
                product = (matrix @ layer).view(n_nodes, -1, width)
                draws = torch.rand(shape, dtype=layer.dtype, device=layer.device)
                lengths = torch.linalg.vector_norm(draws, dim=-1, keepdim=True)
                draws *= noise / lengths.clamp_min_(torch.finfo(layer.dtype).tiny)
                moved = torch.addcmul(product, product.sign(), draws)
                total += moved
                layer = moved.view(n_nodes, -1)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = _backward_over(ctx.matrices, grads[0].float().sum(1), ctx.include_ego)
        return grad.to(ctx.dtype), None, None, None, None, None


def noisy_views(
    ego: Tensor,
    graph: BipartiteGraph,
    n_layers: int,
    *,
    noise: float,
    how: str = "mean",
    include_ego: bool = True,
    n_views: int = 2,
) -> tuple[Tensor, ...]:
    """Propagate ``ego`` with noise after each layer, and aggregate; several views at once.

    SimGCL, equations (6) and (7) (Yu et al., SIGIR 2022, section 3.1): a row ``e`` of each layer
    becomes ``e + ε sign(e) ⊙ u / |u|`` with ``u`` uniform on [0, 1)^d, and goes on so.  The draws
    are torch's global generator's.

    Args:
        ego: float ``[n_nodes, d]``, the users' embeddings above the items'.
        graph: the normalised adjacency, values symmetric.
        n_layers: number of propagation layers ``L``.
        noise: ``ε``, the Euclidean length of the noise of a row without zeros.
        how: ``"mean"`` or ``"sum"``.
        include_ego: whether layer 0 is among the aggregated ones.
        n_views: number of views.

    Returns:
        ``n_views`` tensors, float32 ``[n_nodes, d]``.
    """
    views: Tensor = _NoisyViews.apply(  # type: ignore[no-untyped-call]
        ego, graph.matrix(), n_layers, noise, include_ego, n_views
    )
    if how == "mean":
        views = views / _n_aggregated(n_layers, include_ego)
    return views.unbind(1)

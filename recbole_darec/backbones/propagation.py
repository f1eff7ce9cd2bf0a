"""Propagation over the normalised user-item graph, on CSR, with the transposed product known.

The adjacency of LightGCN (He et al., SIGIR 2020, equation 3) is symmetric, so the gradient of
``A @ x`` is ``A @ g``: no transpose, no sparse gradient.  With edge dropout the matrix keeps its
symmetric pattern and loses its symmetric values; the values of the transpose are then the same
values in another, precomputed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

__all__ = ["BipartiteGraph", "aggregate_layers"]


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
    """

    row_starts: Tensor
    columns: Tensor
    values: Tensor
    transpose_order: Tensor

    @classmethod
    def from_interactions(
        cls, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int
    ) -> BipartiteGraph:
        """Build the graph of the given pairs; a repeated pair is one edge.

        Args:
            users: int ``[n_interactions]``, internal user ids.
            items: int ``[n_interactions]``, internal item ids.
            n_users: number of user ids, padding included.
            n_items: number of item ids, padding included.
        """
        n_nodes = n_users + n_items
        half = sp.csr_matrix(
            (np.ones(len(users), dtype=np.float64), (users, np.asarray(items) + n_users)),
            shape=(n_nodes, n_nodes),
        )
        half.sum_duplicates()
        half.data[:] = 1.0
        adjacency = (half + half.T).tocsr()
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
        )

    @property
    def n_nodes(self) -> int:
        """Number of users and items, padding included."""
        return len(self.row_starts) - 1

    def to(self, device: Any) -> BipartiteGraph:
        """Return the graph with its arrays on ``device``."""
        return BipartiteGraph(
            *(
                getattr(self, name).to(device)
                for name in ("row_starts", "columns", "values", "transpose_order")
            )
        )

    def matrix(self, values: Optional[Tensor] = None) -> Tensor:
        """Return the sparse CSR tensor ``[n_nodes, n_nodes]``, with other values if given."""
        return torch.sparse_csr_tensor(
            self.row_starts,
            self.columns,
            self.values if values is None else values,
            size=(self.n_nodes, self.n_nodes),
            check_invariants=False,
        )

    def drop_edges(self, keep_rate: float, rescale: bool = False) -> tuple[Tensor, Tensor]:
        """Drop each directed edge with probability ``1 - keep_rate``.

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
    def backward(ctx: Any, *grads: Tensor) -> tuple[Optional[Tensor], ...]:
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

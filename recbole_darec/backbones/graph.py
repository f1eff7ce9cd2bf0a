"""The user-item graph: its normalised adjacency as CSR arrays, whole or with fewer edges.

The adjacency of LightGCN (He et al., SIGIR 2020, equation 3) is symmetric.  With edge dropout the
matrix keeps its symmetric pattern and loses its symmetric values; the values of the transpose are
then the same values in another, precomputed order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

__all__ = ["BipartiteGraph"]


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
            (np.ones(len(users), dtype=np.int8), (users, items)), shape=(n_users, n_items)
        )
        half.sum_duplicates()
        mirrored = half.T.tocsr()
        adjacency = sp.csr_matrix(
            (
                np.ones(2 * half.nnz, dtype=np.int8),
                np.concatenate([half.indices + n_users, mirrored.indices]),
                np.concatenate([half.indptr, mirrored.indptr[1:] + half.indptr[-1]]),
            ),
            shape=(n_nodes, n_nodes),
        )
        if self_loops:
            adjacency = adjacency + sp.identity(n_nodes, dtype=np.int8, format="csr")
        adjacency.sort_indices()
        degree = np.diff(adjacency.indptr)
        # RecBole adds 1e-7 to every degree; kept, so that the values are RecBole's to rounding.
        scale = (degree + 1e-7) ** -0.5
        rows = np.repeat(np.arange(n_nodes), degree)
        values = scale[rows] * scale[adjacency.indices]
        # The edges by (column, row): for each edge of the pattern, its mirror image.
        adjacency.data = np.arange(adjacency.nnz)
        mirror = adjacency.tocsc().data
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

    def matrices(self, keep_rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the CSR matrix and its transpose, both ``[n_nodes, n_nodes]``.

        Args:
            keep_rate: share of the edges kept in this call; 1 keeps all of them and draws nothing.
        """
        if keep_rate < 1.0:
            return self.drop_edges(keep_rate)
        matrix = self.matrix()
        return matrix, matrix

    def drop_edges(self, keep_rate: float) -> tuple[Tensor, Tensor]:
        """Drop each directed edge, loops among them, with probability ``1 - keep_rate``.

        As in RLMRec's released models, the two directions of an edge are dropped independently, and
        what is left is not rescaled.

        Returns:
            The CSR matrix and its transpose, both ``[n_nodes, n_nodes]``.
        """
        kept = torch.rand(len(self.values), device=self.values.device) < keep_rate
        values = self.values * kept
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

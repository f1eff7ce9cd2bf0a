"""Values on the edges of a graph: computed from the nodes, normalised by row, and propagated with.

Where a method learns its edge weights, the propagation needs a gradient to the weights as well as
to the nodes.  Both are products on the pattern of the graph (a sparse product and a sampled dense
one), so nothing of size edges × width is formed, and no compiled extension is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.numerics import at_least_float32, csr_product, no_autocast

__all__ = ["EdgePattern", "edge_dots", "row_normalized", "row_sums", "weighted_sum"]


@dataclass(frozen=True)
class EdgePattern:
    """Directed edges between nodes, without values, and the same edges turned round.

    Attributes:
        row_starts: int64 ``[n_nodes + 1]``, CSR row pointer.
        columns: int64 ``[n_edges]``, CSR column indices, sorted within a row.
        rows: int64 ``[n_edges]``, the row of each edge.
        transpose_order: int64 ``[n_edges]``: the edges in the order of the transpose.
        transpose_starts, transpose_columns: the transpose's CSR pattern.
    """

    row_starts: Tensor
    columns: Tensor
    rows: Tensor
    transpose_order: Tensor
    transpose_starts: Tensor
    transpose_columns: Tensor

    @classmethod
    def from_edges(cls, rows: Tensor, columns: Tensor, n_nodes: int) -> EdgePattern:
        """Return the pattern of edges in any order, each of them once.

        Args:
            rows: int64 ``[n_edges]``, where the edges' messages go.
            columns: int64 ``[n_edges]``, where they come from.
            n_nodes: number of nodes.
        """
        order = torch.argsort(rows * n_nodes + columns)
        rows, columns = rows[order], columns[order]
        transpose = torch.argsort(columns * n_nodes + rows)
        return cls(
            row_starts=_starts(rows, n_nodes),
            columns=columns,
            rows=rows,
            transpose_order=transpose,
            transpose_starts=_starts(columns, n_nodes),
            transpose_columns=rows[transpose],
        )

    @classmethod
    def of(cls, graph: BipartiteGraph) -> EdgePattern:
        """Return the pattern of a graph, in the order of its edges."""
        nodes = torch.arange(graph.n_nodes, device=graph.columns.device)
        return cls(
            row_starts=graph.row_starts,
            columns=graph.columns,
            rows=torch.repeat_interleave(nodes, graph.row_starts.diff()),
            transpose_order=graph.transpose_order,
            transpose_starts=graph.row_starts,
            transpose_columns=graph.columns,
        )

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.row_starts) - 1

    def matrix(self, values: Tensor) -> Tensor:
        """Return the sparse CSR tensor ``[n_nodes, n_nodes]`` with these values."""
        return torch.sparse_csr_tensor(
            self.row_starts, self.columns, values, size=(self.n_nodes,) * 2, check_invariants=False
        )

    def transpose(self, values: Tensor) -> Tensor:
        """Return the transpose of :meth:`matrix`."""
        return torch.sparse_csr_tensor(
            self.transpose_starts,
            self.transpose_columns,
            values[self.transpose_order],
            size=(self.n_nodes,) * 2,
            check_invariants=False,
        )


def _starts(sorted_rows: Tensor, n_nodes: int) -> Tensor:
    counts = torch.bincount(sorted_rows, minlength=n_nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _dots(pattern: EdgePattern, left: Tensor, right: Tensor) -> Tensor:
    zeros = left.new_zeros(len(pattern.columns))
    product = torch.sparse.sampled_addmm(pattern.matrix(zeros), left, right.t())
    values: Tensor = product.values()
    return values


def edge_dots(pattern: EdgePattern, left: Tensor, right: Tensor) -> Tensor:
    """Return ``left_i · right_j`` for each edge (i, j).

    Args:
        pattern: the edges.
        left: float ``[n_nodes, d]``.
        right: float ``[n_nodes, d]``.

    Returns:
        ``[n_edges]``, in the order of the pattern; float32 for half-precision input.
    """
    dots: Tensor = _EdgeDots.apply(  # type: ignore[no-untyped-call]
        pattern, at_least_float32(left), at_least_float32(right)
    )
    return dots


class _EdgeDots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pattern: EdgePattern, left: Tensor, right: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(left, right)
        with no_autocast(left):
            return _dots(pattern, left, right)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        with no_autocast(left):
            to_left = (
                csr_product(ctx.pattern.matrix(grads[0]), right)
                if ctx.needs_input_grad[1]
                else None
            )
            to_right = (
                csr_product(ctx.pattern.transpose(grads[0]), left)
                if ctx.needs_input_grad[2]
                else None
            )
        return None, to_left, to_right


def weighted_sum(pattern: EdgePattern, values: Tensor, nodes: Tensor) -> Tensor:
    """Return for each node i the sum of ``values_ij nodes_j`` over its edges (i, j).

    Args:
        pattern: the edges.
        values: float ``[n_edges]``, in the order of the pattern.
        nodes: float ``[n_nodes, d]``.

    Returns:
        ``[n_nodes, d]``; float32 for half-precision input.
    """
    summed: Tensor = _WeightedSum.apply(  # type: ignore[no-untyped-call]
        pattern, at_least_float32(values), at_least_float32(nodes)
    )
    return summed


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pattern: EdgePattern, values: Tensor, nodes: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, nodes)
        with no_autocast(nodes):
            return csr_product(pattern.matrix(values), nodes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, nodes = ctx.saved_tensors
        grad = grads[0].contiguous()
        with no_autocast(nodes):
            to_values = _dots(ctx.pattern, grad, nodes) if ctx.needs_input_grad[1] else None
            to_nodes = (
                csr_product(ctx.pattern.transpose(values), grad)
                if ctx.needs_input_grad[2]
                else None
            )
        return None, to_values, to_nodes


def row_sums(pattern: EdgePattern, values: Tensor) -> Tensor:
    """Return the sum of each node's edges' values.

    Args:
        pattern: the edges.
        values: float ``[n_edges, ...]``, in the order of the pattern.

    Returns:
        ``[n_nodes, ...]``, 0 for a node without an edge.
    """
    sums: Tensor = _RowSums.apply(pattern, values)  # type: ignore[no-untyped-call]
    return sums


def _of_rows(pattern: EdgePattern, nodes: Tensor) -> Tensor:
    """Return for each edge (i, j) what node i has, shape ``[n_edges, ...]``."""
    found: Tensor = _OfRows.apply(pattern, nodes)  # type: ignore[no-untyped-call]
    return found


def _summed(pattern: EdgePattern, values: Tensor) -> Tensor:
    # A GPU adds by index in any order, and other bits come each time; by segments it does not.
    if values.device.type == "cpu":
        zeros = values.new_zeros((pattern.n_nodes, *values.shape[1:]))
        return zeros.index_add_(0, pattern.rows, values)
    # unsafe: nobody looks at the offsets, for which the processor would wait.
    return torch.segment_reduce(values.contiguous(), "sum", offsets=pattern.row_starts, unsafe=True)


class _RowSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pattern: EdgePattern, values: Tensor) -> Tensor:
        ctx.pattern = pattern
        return _summed(pattern, values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, _of_rows(ctx.pattern, grads[0])


class _OfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pattern: EdgePattern, nodes: Tensor) -> Tensor:
        ctx.pattern = pattern
        return nodes.index_select(0, pattern.rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, row_sums(ctx.pattern, grads[0])


def row_normalized(pattern: EdgePattern, values: Tensor, eps: float = 0.0) -> Tensor:
    """Return the values divided by the sum of their row's values, plus ``eps``.

    Args:
        pattern: the edges.
        values: float ``[n_edges, ...]``, at least 0, in the order of the pattern.
        eps: added to each sum; a row of zeros stays one in any case.

    Returns:
        as ``values``.
    """
    sums = row_sums(pattern, values) + eps
    empty = sums == 0
    shares = sums.masked_fill(empty, 1.0).reciprocal().masked_fill(empty, 0.0)
    return values * _of_rows(pattern, shares)

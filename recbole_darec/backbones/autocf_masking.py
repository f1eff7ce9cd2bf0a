"""What AutoCF masks: which nodes are its centers, what is cut out around them, and what is put in.

All functions work on arrays of edges at once; a node set is a mask over the nodes.  They draw from
torch's global generator (of the tensors' device).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from recbole_darec.backbones.edges import EdgePattern
from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.propagation import aggregate_over
from recbole_darec.numerics import unit_rows

__all__ = [
    "decoder_pattern",
    "encoder_graph",
    "gumbel_top_k",
    "log_relatedness",
    "masked_region",
    "unweighted",
]


def unweighted(graph: BipartiteGraph) -> BipartiteGraph:
    """Return the graph with the value 1 on each edge."""
    return replace(graph, values=torch.ones_like(graph.values))


def log_relatedness(ego: Tensor, adjacency: BipartiteGraph) -> Tensor:
    """Return for each node how alike it and its two-hop subgraph are, as a log-probability.

    AutoCF's infomax-based relatedness (Xia et al., WWW 2023, section 3): with the adjacency ``A``
    and its row sums ``n``,

    - first order ``f = A e - e`` of ``n`` nodes;
    - second order ``s = (A f - f) - n e`` of ``(A n - n) - n`` nodes;
    - ``log sigmoid(cos((f + s) / (their numbers + 1e-8), e))``.

    The terms that are taken away are those of self-loops and of the way back: with self-loops in
    ``A``, ``f`` is the sum of the neighbours.

    Args:
        ego: float ``[n_nodes, d]``, the embeddings before propagation.
        adjacency: the graph with the value 1 on each edge (:func:`unweighted`).

    Returns:
        float32 ``[n_nodes]``, with the gradient to ``ego``.
    """
    order = adjacency.row_starts.diff().to(torch.float32).unsqueeze(1)

    def summed(rows: Tensor) -> Tensor:
        return aggregate_over(rows, [adjacency], how="sum", include_ego=False)

    first = summed(ego) - ego
    second = (summed(first) - first) - order * ego
    number = order + (summed(order) - order) - order
    # The number decides the sign as well: without self-loops it may be below 0.
    subgraph = unit_rows((first + second) / (number + 1e-8))
    return logsigmoid((subgraph * unit_rows(ego)).sum(-1))


def gumbel_top_k(log_scores: Tensor, count: int) -> Tensor:
    """Return the ``count`` nodes with the largest scores after Gumbel noise.

    That draws without replacement, each next one with a probability in proportion to its score
    among those left.

    Args:
        log_scores: float ``[n]``, logarithms of the scores.
        count: at most ``n``.

    Returns:
        int64 ``[count]``.
    """
    uniform = torch.rand_like(log_scores).clamp_min_(torch.finfo(log_scores.dtype).tiny)
    noise = -(-uniform.log()).log()
    return torch.topk(log_scores.detach() + noise, count, sorted=False).indices


def masked_region(pattern: EdgePattern, seeds: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Cut out the edges around the seeds, hop by hop.

    A hop removes every edge that touches one of its nodes; the ends of the removed edges are the
    nodes of the next hop.

    Args:
        pattern: the edges, each in both directions, self-loops among them or not.
        seeds: int64 ``[n_seeds]``, the nodes of the first hop.
        depth: number of hops, 1 or more.

    Returns:
        Which edges are left, bool ``[n_edges]``, and the nodes of all hops, bool ``[n_nodes]``.
    """
    nodes = torch.zeros(pattern.n_nodes, dtype=torch.bool, device=seeds.device)
    nodes[seeds] = True
    reached = nodes.clone()
    kept = torch.ones_like(pattern.columns, dtype=torch.bool)
    for hop in range(depth):
        removed = kept & (nodes[pattern.rows] | nodes[pattern.columns])
        kept &= ~removed
        if hop + 1 < depth:
            nodes = torch.zeros_like(nodes)
            nodes[pattern.rows[removed]] = True  # an edge's other end is its mirror image's row
            reached |= nodes
    return kept, reached


def encoder_graph(graph: BipartiteGraph, pattern: EdgePattern, kept: Tensor) -> BipartiteGraph:
    """Return the graph of the edges that are left, normalised by the degrees that are left.

    Args:
        graph: the whole graph.
        pattern: its edges.
        kept: bool ``[n_edges]``, an edge's mirror image with it.

    Returns:
        The graph; a node without an edge has an empty row.
    """
    rows, columns = pattern.rows[kept], pattern.columns[kept]
    degree = torch.bincount(rows, minlength=graph.n_nodes)
    scale = (degree.double() + 1e-12).rsqrt()
    return replace(
        graph,
        row_starts=torch.cat([degree.new_zeros(1), degree.cumsum(0)]),
        columns=columns,
        values=(scale[rows] * scale[columns]).to(graph.values.dtype),
        transpose_order=(kept.cumsum(0) - 1)[graph.transpose_order[kept]],
    )


def decoder_pattern(pattern: EdgePattern, kept: Tensor, masked: Tensor) -> EdgePattern:
    """Return the pairs of nodes that the decoder attends over.

    These are as many random pairs of masked nodes as the whole graph has edges, in both
    directions; each node with itself; and the edges that are left.  A pair stands once.

    Args:
        pattern: the edges of the whole graph.
        kept: bool ``[n_edges]``, the edges that are left.
        masked: int64 ``[n_masked]``, distinct nodes, one or more.
    """
    n_nodes, n_edges = pattern.n_nodes, len(pattern.columns)
    device = masked.device
    left, right = masked[torch.randint(len(masked), (2, n_edges), device=device)]
    # A pair as one number, which sorts as the pairs do.
    pairs = torch.cat(
        [
            left * n_nodes + right,
            right * n_nodes + left,
            torch.arange(n_nodes, device=device) * (n_nodes + 1),
            pattern.rows[kept] * n_nodes + pattern.columns[kept],
        ]
    )
    pairs = torch.unique(pairs)
    rows = torch.div(pairs, n_nodes, rounding_mode="floor")
    return EdgePattern.from_edges(rows, pairs - rows * n_nodes, n_nodes)

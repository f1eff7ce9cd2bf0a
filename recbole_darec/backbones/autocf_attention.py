"""AutoCF's graph self-attention over pairs of nodes (Xia et al., WWW 2023, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_darec.backbones.edges import EdgePattern, edge_dots, weighted_sum
from recbole_darec.numerics import at_least_float32

__all__ = ["GraphTransformerLayer", "graph_attention"]

# Attention scores are cut off here before their exponential is taken.
_LARGEST_SCORE = 10.0


def graph_attention(
    pattern: EdgePattern, queries: Tensor, keys: Tensor, values: Tensor, n_heads: int
) -> Tensor:
    """Return for each node the attention-weighted sum of its neighbours' values.

    AutoCF's graph self-attention (Xia et al., WWW 2023, section 3), head by head:
    ``Σ_j a_ij v_j / (Σ_j a_ij + 1e-8)`` with ``a_ij = exp(clamp(q_i · k_j, -10, 10))``.

    Args:
        pattern: the pairs (i, j).
        queries: float ``[n_nodes, d]``.
        keys: float ``[n_nodes, d]``.
        values: float ``[n_nodes, d]``.
        n_heads: number of heads, a divisor of ``d``.

    Returns:
        ``[n_nodes, d]``, the heads side by side, 0 for a node without pairs; float32 for
        half-precision input.
    """
    in_heads = (
        at_least_float32(rows).reshape(len(rows), n_heads, -1).transpose(0, 1).contiguous()
        for rows in (queries, keys, values)
    )
    heads = []
    for query, key, value in zip(*in_heads):
        weights = edge_dots(pattern, query, key).clamp(-_LARGEST_SCORE, _LARGEST_SCORE).exp()
        # A column of ones beside the values: the rows' sums come with the product.
        ones = value.new_ones(len(value), 1)
        summed = weighted_sum(pattern, weights, torch.cat([value, ones], dim=1))
        heads.append(summed[:, :-1] / (summed[:, -1:] + 1e-8))
    return torch.cat(heads, dim=1)


class GraphTransformerLayer(nn.Module):
    """One layer of attention over pairs of nodes.

    Args:
        width: width of the embeddings.
        n_heads: number of heads, a divisor of ``width``.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, pattern: EdgePattern, nodes: Tensor) -> Tensor:
        """Return ``[n_nodes, width]``, what each node gathers over the pairs of ``pattern``."""
        return graph_attention(
            pattern, self.query(nodes), self.key(nodes), self.value(nodes), self.n_heads
        )

"""AutoCF (Xia et al., "Automated Self-Supervised Learning for Recommendation", WWW 2023)."""

from __future__ import annotations

from logging import getLogger
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_darec.backbones.autocf_masking import (
    decoder_pattern,
    encoder_graph,
    gumbel_top_k,
    log_relatedness,
    masked_region,
    unweighted,
)
from recbole_darec.backbones.edges import EdgePattern, edge_dots, weighted_sum
from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.graph_recommender import GraphRecommender, training_pairs
from recbole_darec.backbones.options import AutoCFOptions
from recbole_darec.backbones.propagation import propagate_layers
from recbole_darec.errors import OptionError
from recbole_darec.numerics import at_least_float32, log_sum_exp, unique_with_counts

__all__ = ["AutoCF", "GraphTransformerLayer", "graph_attention", "mean_log_sum_exp"]

# Attention scores are cut off here before their exponential is taken.
_LARGEST_SCORE = 10.0
# Below this share of edges left, a user is told: on a small data set the paper's 500 seeds leave
# nearly none, and the encoder sees no graph (docs/results.md has what that costs).
_FEW_EDGES = 0.1


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


def mean_log_sum_exp(rows: Tensor, candidates: Tensor, ids: Tensor, *, distinct: bool) -> Tensor:
    """Return the mean over a batch of ``log Σ_c exp(row · c)``, plain inner products.

    This is the contrast of AutoCF (Xia et al., WWW 2023, section 3): it has no positive pairs, the
    reconstruction has them.

    Args:
        rows: float ``[n, d]``.
        candidates: float ``[m, d]``, all that the sum is over.
        ids: int ``[batch]``, which of the rows are in the batch.
        distinct: whether an id counts once, or as often as it stands in the batch.

    Returns:
        a scalar, 0 for an empty batch.
    """
    total: Any = len(ids)
    ids, weights = unique_with_counts(ids)
    if distinct and weights is not None:
        total, weights = len(ids), None
    elif distinct:
        # Repetitions were not merged: each of n like ids counts 1/n.
        times = torch.zeros(len(rows), dtype=torch.int64, device=ids.device)
        weights = times.index_add_(0, ids, torch.ones_like(ids))[ids].float().reciprocal()
        total = weights.sum()
    if not len(ids):
        total = 1.0
    return log_sum_exp(rows[ids], candidates, weights=weights) / total


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


class AutoCF(GraphRecommender):
    """Automated collaborative filtering: a graph autoencoder that learns what to mask.

    A GCN encodes a graph with the surroundings of some nodes cut out; graph attention over the
    rest and over random pairs of masked nodes decodes it; the sum of all layers ranks.  Which
    nodes are cut out is drawn by how alike a node and its subgraph are, every ``mask_every`` steps
    and in the first one of an epoch.  In prediction nothing is masked.

    The loss needs no negative items: positive pairs are pulled together, and all users and all
    items are pushed apart.
    """

    Options: ClassVar[type] = AutoCFOptions
    options: AutoCFOptions

    def make_graph(self, dataset: Any) -> BipartiteGraph:
        """Return the graph, with self-loops if the options have them."""
        return BipartiteGraph.from_interactions(
            *training_pairs(dataset),
            self.n_users,
            self.n_items,
            self_loops=self.options.self_loops,
        )

    def make_layers(self, config: Any) -> None:
        """Make the decoder's layers.

        Raises:
            OptionError: the heads do not divide the width.
        """
        options = self.options
        if self.embedding_size % options.n_heads:
            raise OptionError(
                f"n_heads={options.n_heads} does not divide embedding_size={self.embedding_size}: "
                "each head has an equal share of the width"
            )
        self.decoder = nn.ModuleList(
            GraphTransformerLayer(self.embedding_size, options.n_heads)
            for _ in range(options.gt_layers)
        )
        self.pattern = EdgePattern.of(self.graph)
        self.unweighted_graph = unweighted(self.graph)
        users = torch.arange(1, self.n_users)
        items = torch.arange(self.n_users + 1, self.n_users + self.n_items)
        # The padding is neither masked nor contrasted.
        self.real_nodes = torch.cat([users, items]).to(self.device)
        self.n_seeds = min(options.n_seeds, len(self.real_nodes))
        self.warned_of_few_edges = options.n_seeds > self.n_seeds
        if self.warned_of_few_edges:
            getLogger().warning(
                f"n_seeds={options.n_seeds} is more than there are users and items: all "
                f"{self.n_seeds:,} of them are seeds, and no edge is left; set n_seeds lower"
            )
        self.step_of_epoch = 0
        self.masked_graphs: tuple[BipartiteGraph, EdgePattern] | None = None

    def train(self, mode: bool = True) -> AutoCF:
        """Set the mode; the first step of an epoch, at whose start this is called, draws a mask."""
        super().train(mode)
        self.step_of_epoch = 0
        self.masked_graphs = None
        return self

    # ---- embeddings ------------------------------------------------------------------------

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``.

        In training they are those over the masked graphs, if there were a step yet, and else those
        over the whole graph.
        """
        encoder, decoder = self.graph, self.pattern
        if self.training and self.masked_graphs is not None:
            encoder, decoder = self.masked_graphs
        layers = list(propagate_layers(self.get_ego_embeddings(), encoder, self.n_layers))
        for layer in self.decoder:
            layers.append(layer(decoder, layers[-1]))
        nodes = layers[0]
        for rows in layers[1:]:
            nodes = nodes + rows
        return self.split(nodes)

    # ---- mask ------------------------------------------------------------------------------

    def renew_mask(self) -> Tensor:
        """Draw the masked graphs anew, by the embeddings as they are.

        Returns:
            The infomax loss: minus the mean log-relatedness of the nodes, a scalar.  The Gumbel
            noise of the drawing is left out of it; it has no gradient.
        """
        scores = log_relatedness(self.get_ego_embeddings(), self.unweighted_graph)[self.real_nodes]
        with torch.no_grad():
            seeds = self.real_nodes[gumbel_top_k(scores, self.n_seeds)]
            kept, masked = masked_region(self.pattern, seeds, self.options.mask_depth)
            n_real = len(self.real_nodes)
            self._warn_of_few_edges(kept)
            count = int(n_real * self.options.keep_nodes)
            masked[self.real_nodes[torch.randint(n_real, (count,), device=seeds.device)]] = True
            self.masked_graphs = (
                encoder_graph(self.graph, self.pattern, kept),
                decoder_pattern(self.pattern, kept, masked.nonzero().squeeze(1)),
            )
        return -scores.mean()

    def _warn_of_few_edges(self, kept: Tensor) -> None:
        """Warn once if a mask leaves the encoder next to no edges."""
        if self.warned_of_few_edges:
            return
        self.warned_of_few_edges = True  # the first mask speaks for all
        between_two = self.pattern.rows != self.pattern.columns
        share = kept[between_two].float().mean().item()
        if share < _FEW_EDGES:
            getLogger().warning(
                f"n_seeds={self.options.n_seeds} with mask_depth={self.options.mask_depth} leaves "
                f"the encoder {100 * share:.1f} % of the training edges; lower n_seeds"
            )

    # ---- loss ------------------------------------------------------------------------------

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction with its L2 term, the contrast, and the infomax loss.

        The last one is 0 in a step that keeps the mask.
        """
        self.forget_embeddings()
        infomax = self.user_embedding.weight.new_zeros(())
        if self.training:
            if self.step_of_epoch % self.options.mask_every == 0:
                infomax = self.renew_mask()
            self.step_of_epoch += 1
        users, items = self.forward()
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        reconstruction = -(users[user] * items[item]).sum(-1).mean()
        return (
            reconstruction + self.l2_term(interaction),
            self._contrast(users, items, user, item),
            infomax,
        )

    def _contrast(self, users: Tensor, items: Tensor, user: Tensor, item: Tensor) -> Tensor:
        """Return the contrast of a batch: among users, among items, and of users with items."""
        # Row 0 is padding, and no candidate.
        users, items, user, item = users[1:], items[1:], user - 1, item - 1
        of_users = mean_log_sum_exp(users, users, user, distinct=True)
        of_items = mean_log_sum_exp(items, items, item, distinct=True)
        across = mean_log_sum_exp(users, items, user, distinct=False)
        return self.options.ssl_weight * (of_users + of_items) + across

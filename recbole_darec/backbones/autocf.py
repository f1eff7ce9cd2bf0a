"""AutoCF (Xia et al., "Automated Self-Supervised Learning for Recommendation", WWW 2023)."""

from __future__ import annotations

from logging import getLogger
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_darec.backbones.autocf_attention import GraphTransformerLayer
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
from recbole_darec.backbones.graph_recommender import GraphRecommender, training_pairs
from recbole_darec.backbones.options import RegularizedOptions
from recbole_darec.backbones.propagation import propagate_layers
from recbole_darec.errors import OptionError
from recbole_darec.numerics import distinct_with_weights, log_sum_exp, unique_with_counts
from recbole_darec.settings.options import option

__all__ = [
    "AutoCF",
    "AutoCFOptions",
    "mean_log_sum_exp",
]

# Below this share of edges left, a user is told: on a small data set the paper's 500 seeds leave
# nearly none, and the encoder sees no graph (docs/results/xrec_yelp.md has what that costs).
_FEW_EDGES = 0.1


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
    if distinct:
        ids, weights, total = distinct_with_weights(ids, len(rows))
    else:
        ids, weights = unique_with_counts(ids)
    if not len(ids):
        total = 1.0
    return log_sum_exp(rows[ids], candidates, weights=weights) / total


class AutoCFOptions(RegularizedOptions):
    """Options of AutoCF."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 2,
        "reg_weight": 1e-6,
    }

    gt_layers: int = option(1, "Graph-transformer layers of the decoder.", low=1)
    n_heads: int = option(
        4, "Attention heads of a decoder layer; they must divide embedding_size.", low=1
    )
    ssl_weight: float = option(
        1.0,
        "Weight of the contrast among the users and among the items, beside that of users with "
        "items, which has weight 1.",
        low=0.0,
    )
    n_seeds: int = option(
        500, "Nodes around which edges are cut out; at most as many as users and items.", low=1
    )
    mask_depth: int = option(2, "Hops around a seed within which edges are cut out.", low=1)
    keep_nodes: float = option(
        0.2,
        "Share of all nodes, drawn at random, that the decoder's random pairs are drawn from "
        "beside the masked ones.",
        low=0.0,
        high=1.0,
    )
    mask_every: int = option(
        10,
        "Steps between two drawings of the mask; the first step of an epoch draws it too.",
        low=1,
    )
    self_loops: bool = option(
        True,
        "Whether the adjacency has self-loops, in ranking and in the mask scores; the equations "
        "of these take them away again.",
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

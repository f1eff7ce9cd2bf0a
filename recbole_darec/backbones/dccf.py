"""DCCF (Ren et al., "Disentangled Contrastive Collaborative Filtering", SIGIR 2023)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_darec.backbones.edges import EdgePattern, edge_dots, row_normalized, weighted_sum
from recbole_darec.backbones.graph_recommender import GraphRecommender
from recbole_darec.backbones.options import RegularizedOptions
from recbole_darec.backbones.propagation import aggregate_over
from recbole_darec.numerics import distinct_with_weights, info_nce, unit_rows
from recbole_darec.settings.options import option

__all__ = ["DCCF", "DCCFOptions", "intent_messages", "masked_messages"]

# What each layer's graph message is contrasted with.
VIEWS = ("intents", "graph mask", "intent mask")


def intent_messages(nodes: Tensor, intents: Tensor) -> Tensor:
    """Return each node's mixture of intent prototypes.

    DCCF, equations (4) and (5): ``Σ_k softmax_k(e · c_k) c_k``.

    Args:
        nodes: float ``[n, d]``.
        intents: the prototypes of their kind, float ``[d, n_intents]``.

    Returns:
        float ``[n, d]``.
    """
    return (nodes @ intents).softmax(1) @ intents.T


def masked_messages(pattern: EdgePattern, views: Tensor, nodes: Tensor) -> Tensor:
    """Propagate over the edges, weighted by how alike their ends are in a view.

    DCCF, equations (7) to (9): the mask of an edge (i, j) is ``(cos(v_i, v_j) + 1) / 2``, divided
    by the sum of the row's masks.  The gradient goes through the masks too.

    Args:
        pattern: the user-item graph's edges.
        views: float ``[n, d]``, what the masks are learnt from.
        nodes: float ``[n, d]``, what is propagated.

    Returns:
        float ``[n, d]``, 0 for a node without edges.
    """
    unit = unit_rows(views)
    # Rounding takes opposite ends a little below 0, and a row's sum of such masks is no divisor.
    masks = ((edge_dots(pattern, unit, unit) + 1.0) / 2.0).clamp(min=0.0)
    return weighted_sum(pattern, row_normalized(pattern, masks), nodes)


class DCCFOptions(RegularizedOptions):
    """Options of DCCF."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 2,
        "reg_weight": 1e-5,
    }

    n_intents: int = option(128, "Intent prototypes of the users, and as many of the items.", low=1)
    ssl_weight: float = option(0.001, "Weight of the contrast.", low=0.0)
    ssl_tau: float = option(0.1, "Temperature of the contrast.", above=0.0)


class DCCF(GraphRecommender):
    """Disentangled contrastive collaborative filtering.

    A layer adds four messages to its input: the graph's, the intents', and the graph's once more
    under two learnt masks, one from the graph's message and one from the intents'.  The sum of all
    layers ranks.  In each layer the graph's message is contrasted with the three others.
    """

    Options: ClassVar[type] = DCCFOptions
    options: DCCFOptions
    replayable: ClassVar[bool] = True

    def make_layers(self, config: Any) -> None:
        """Make the intent prototypes of users and items, ``[d, n_intents]`` each."""
        shape = (self.embedding_size, self.options.n_intents)
        self.user_intents = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))
        self.item_intents = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))
        self.pattern = EdgePattern.of(self.graph)

    def forward(self) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
        """Return the final embeddings, users ``[n_users, d]`` and items ``[n_items, d]``.

        Third come the messages of each layer by name, ``[n_users + n_items, d]``: the graph's is
        ``"graph"``, the others are those of ``VIEWS``.
        """
        layer = self.get_ego_embeddings()
        total, messages = layer, []
        for _ in range(self.n_layers):
            graph = aggregate_over(layer, [self.graph], how="sum", include_ego=False)
            users, items = self.split(layer)
            intents = torch.cat(
                [
                    intent_messages(users, self.user_intents),
                    intent_messages(items, self.item_intents),
                ]
            )
            found = {
                "graph": graph,
                "intents": intents,
                "graph mask": masked_messages(self.pattern, graph, layer),
                "intent mask": masked_messages(self.pattern, intents, layer),
            }
            messages.append(found)
            layer = layer + sum(found.values())
            total = total + layer
        users, items = self.split(total)
        return users, items, messages

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the ranking loss with its L2 term, and the weighted contrast of the messages."""
        self.forget_embeddings()
        users, items, messages = self.forward()
        ranking = self.ranking_loss(users, items, interaction) + self.l2_term(interaction)
        return ranking, self.options.ssl_weight * self._contrast(messages, interaction)

    def _contrast(self, messages: list[dict[str, Tensor]], interaction: Any) -> Tensor:
        """Return the contrasts of all layers, of the batch's distinct users and positive items."""
        sizes = {self.USER_ID: self.n_users, self.ITEM_ID: self.n_items}
        found = [distinct_with_weights(interaction[name], n) for name, n in sizes.items()]
        total = interaction[self.USER_ID].new_zeros((), dtype=torch.float32)
        for layer in messages:
            seen = {
                name: [kind[rows] for kind, (rows, *_) in zip(self.split(nodes), found)]
                for name, nodes in layer.items()
            }
            for view in VIEWS:
                for anchors, others, (_, weights, number) in zip(seen["graph"], seen[view], found):
                    term = info_nce(
                        anchors,
                        others,
                        others,
                        self.options.ssl_tau,
                        weights=weights,
                        candidate_weights=weights,
                    )
                    total = total + term / number
        return total

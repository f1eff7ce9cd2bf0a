"""GCCF, that is LR-GCCF (Chen et al., AAAI 2020): linear propagation, every layer ranks."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.graph_recommender import GraphRecommender, training_pairs
from recbole_darec.backbones.options import EdgeDropoutOptions, RegularizedOptions
from recbole_darec.backbones.propagation import propagate_layers

__all__ = ["GCCF", "GCCFOptions"]


class GCCFOptions(RegularizedOptions, EdgeDropoutOptions):
    """Options of GCCF, whose layers are concatenated.

    The layers are concatenated: what ranks is n_layers + 1 times as wide as embedding_size.
    """

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 2,
        "reg_weight": 1e-5,
    }


class GCCF(GraphRecommender):
    """Linear residual graph collaborative filtering.

    The layers are ``e^0`` and ``e^{l+1} = D^-1/2 (A + I) D^-1/2 e^l``, where ``D`` counts the
    self-loops.  The paper's residual prediction, the sum over the layers of the inner products of
    user and item, is the inner product of the concatenated layers; these are the final embeddings,
    ``n_layers + 1`` times as wide as the tables.  There are no weight matrices between the layers.
    """

    Options: ClassVar[type] = GCCFOptions
    options: GCCFOptions
    replayable: ClassVar[bool] = True

    def make_graph(self, dataset: Any) -> BipartiteGraph:
        """Return the graph with self-loops."""
        return BipartiteGraph.from_interactions(
            *training_pairs(dataset), self.n_users, self.n_items, self_loops=True
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the concatenated layers: users ``[n_users, (L + 1) d]``, items alike."""
        layers = propagate_layers(
            self.get_ego_embeddings(),
            self.graph,
            self.n_layers,
            keep_rate=self.options.edge_keep_rate if self.training else 1.0,
        )
        return self.split(torch.cat(layers, dim=1))

"""LightGCN (He et al., SIGIR 2020) as RecBole has it, on the fast propagation."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender.lightgcn import LightGCN as RecBoleLightGCN
from torch import Tensor

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.options import GraphOptions
from recbole_darec.backbones.propagation import aggregate_layers
from recbole_darec.backbones.regularization import squared_norms
from recbole_darec.settings.options import options_from_config

__all__ = ["LightGCN"]


class LightGCN(RecBoleLightGCN):
    """RecBole's LightGCN with CSR propagation and the choices that the papers' tables need.

    The class adds three options to RecBole's: how the layers are aggregated, edge dropout in
    training, and the form of the L2 term (:class:`~recbole_darec.backbones.options.GraphOptions`).
    With their defaults the scores and gradients are RecBole's to rounding.
    """

    reg_weight: float

    def __init__(self, config: Any, dataset: Any) -> None:
        self.graph_options = options_from_config(GraphOptions, config)
        super().__init__(config, dataset)

    def get_norm_adj_mat(self) -> BipartiteGraph:
        """Return the normalised adjacency; RecBole's constructor moves it to the device."""
        pairs = self.interaction_matrix
        return BipartiteGraph.from_interactions(pairs.row, pairs.col, self.n_users, self.n_items)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``."""
        nodes = aggregate_layers(
            self.get_ego_embeddings(),
            self.norm_adj_matrix,
            self.n_layers,
            how=self.graph_options.layer_aggregation,
            keep_rate=self.graph_options.edge_keep_rate if self.training else 1.0,
        )
        users, items = torch.split(nodes, [self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, interaction: Any) -> Any:
        """Return the BPR loss with its L2 term in the form that ``reg_form`` names."""
        if self.graph_options.reg_form == "batch":
            return super().calculate_loss(interaction)
        in_batch_weight = float(self.reg_weight)
        self.reg_weight = 0.0
        try:
            ranking = super().calculate_loss(interaction)
        finally:
            self.reg_weight = in_batch_weight
        tables = (self.user_embedding.weight, self.item_embedding.weight)
        return ranking + in_batch_weight * squared_norms(tables)

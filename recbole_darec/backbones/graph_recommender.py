"""What the graph backbones written here have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_uniform_initialization
from recbole.model.loss import BPRLoss, EmbLoss
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.options import GraphOptions
from recbole_darec.backbones.regularization import squared_norms
from recbole_darec.settings.options import options_from_config

__all__ = ["GraphRecommender"]


class GraphRecommender(GeneralRecommender):
    """Two embedding tables, the user-item graph, the BPR loss, and ranking by inner products.

    A subclass propagates in :meth:`forward`, and makes its loss of :meth:`ranking_loss` and
    :meth:`l2_term` and whatever else its paper has.

    Attributes:
        options: the checked options of the class's ``Options``.
        graph: the normalised adjacency, on the model's device.
    """

    input_type = InputType.PAIRWISE
    Options: ClassVar[type] = GraphOptions

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.options = options_from_config(self.Options, config)
        self.embedding_size = int(config["embedding_size"])
        self.n_layers = int(config["n_layers"])
        self.reg_weight = float(config["reg_weight"])
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self.mf_loss = BPRLoss()
        self.reg_loss = EmbLoss()
        self.graph = self.make_graph(dataset).to(self.device)
        # Final embeddings of an evaluation, until the next training step.
        self.restore_user_e: Tensor | None = None
        self.restore_item_e: Tensor | None = None
        self.other_parameter_name = ["restore_user_e", "restore_item_e"]
        self.make_layers(config)
        self.apply(xavier_uniform_initialization)

    def make_graph(self, dataset: Any) -> BipartiteGraph:
        """Return the graph that is propagated over."""
        pairs = dataset.inter_matrix(form="coo").astype(np.float32)
        return BipartiteGraph.from_interactions(pairs.row, pairs.col, self.n_users, self.n_items)

    def make_layers(self, config: Any) -> None:
        """Make the parameters beside the two tables; called before the initialisation."""

    def get_ego_embeddings(self) -> Tensor:
        """Return the embeddings before propagation, float ``[n_users + n_items, d]``."""
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    def split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the users' and the items' rows of ``nodes``."""
        users, items = torch.split(nodes, [self.n_users, self.n_items])
        return users, items

    def forward(self) -> Any:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``."""
        raise NotImplementedError

    def forget_scores(self) -> None:
        """Drop what an evaluation kept; a training step is about to change it."""
        self.restore_user_e = self.restore_item_e = None

    def ranking_loss(self, users: Tensor, items: Tensor, interaction: Any) -> Tensor:
        """Return the BPR loss of a batch, a mean over its interactions."""
        user = users[interaction[self.USER_ID]]
        wanted = (user * items[interaction[self.ITEM_ID]]).sum(-1)
        other = (user * items[interaction[self.NEG_ITEM_ID]]).sum(-1)
        return self.mf_loss(wanted, other)

    def l2_term(self, interaction: Any) -> Tensor:
        """Return the weighted L2 term in the form that ``reg_form`` names."""
        if self.options.reg_form == "full":
            return self.reg_weight * squared_norms(self.own_parameters())
        rows = (
            self.user_embedding(interaction[self.USER_ID]),
            self.item_embedding(interaction[self.ITEM_ID]),
            self.item_embedding(interaction[self.NEG_ITEM_ID]),
        )
        return self.reg_weight * self.reg_loss(*rows).reshape(())

    def own_parameters(self) -> list[Tensor]:
        """Return the backbone's parameters, without those of an aligner on top of it."""
        return [p for name, p in self.named_parameters() if not name.startswith("alignment.")]

    def predict(self, interaction: Any) -> Tensor:
        """Return the scores of pairs of users and items, float ``[batch]``."""
        users, items = self.forward()[:2]
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(-1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores of all items, float ``[batch * n_items]``."""
        if self.restore_user_e is None or self.restore_item_e is None:
            self.restore_user_e, self.restore_item_e = self.forward()[:2]
        return (self.restore_user_e[interaction[self.USER_ID]] @ self.restore_item_e.T).view(-1)

"""The base of this package's graph backbones: tables, graph, ranking loss, L2 term, scores."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_uniform_initialization
from recbole.model.loss import BPRLoss
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.options import GraphOptions
from recbole_darec.backbones.regularization import batch_norms, squared_norms
from recbole_darec.errors import OptionError
from recbole_darec.numerics import own_rows
from recbole_darec.settings.options import options_from_config

__all__ = ["GraphRecommender", "training_pairs"]


def training_pairs(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the users and the items of the interactions, ``[n_interactions]`` each, in order."""
    pairs = dataset.inter_matrix(form="coo")
    return pairs.row, pairs.col


def _reg_weight(config: Any) -> float:
    weight = config["reg_weight"]
    if weight is None:  # which some of RecBole's models take
        raise OptionError("reg_weight=null is no weight of an L2 term: give 0 or a larger number")
    return float(weight)


class GraphRecommender(GeneralRecommender):
    """Two embedding tables, the user-item graph, the BPR loss, and ranking by inner products.

    A subclass names its ``Options`` and propagates in :meth:`forward`.  Where its paper has more
    than a ranking loss with an L2 term, it overrides :meth:`calculate_loss` and makes it of
    :meth:`ranking_loss`, :meth:`l2_term` and its own parts.

    Where several processes train one model, each of them is given whole batches
    (``takes_whole_batches``): what a subclass computes is right as it is, and the sums over rows of
    the ranking loss and of ``numerics``' contrasts are shared.

    A class whose every training step does the same operations on the same tensors, but for the
    batch, says so by ``replayable``: a GPU then records one and replays it.

    Attributes:
        options: the checked options, an instance of ``Options``.
        graph: the normalised adjacency, on the model's device.
        reg_weight: the weight of the L2 term.
        require_pow: whether the L2 term of ``reg_form=batch`` squares the norms; in RecBole
            LightGCN alone has the choice.

    Raises:
        OptionError: an option is not permitted.
    """

    input_type = InputType.PAIRWISE
    Options: ClassVar[type] = GraphOptions
    options: Any
    require_pow: bool = False
    takes_whole_batches: ClassVar[bool] = True
    replayable: ClassVar[bool] = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.options = options_from_config(self.Options, config)
        self.embedding_size = int(config["embedding_size"])
        self.n_layers = int(config["n_layers"])
        self.reg_weight = _reg_weight(config)
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self.mf_loss = BPRLoss()
        self.graph = self.make_graph(dataset).to(self.device)
        # Final embeddings of an evaluation, until the next training step; RecBole's names.
        self.restore_user_e: Tensor | None = None
        self.restore_item_e: Tensor | None = None
        self.other_parameter_name = ["restore_user_e", "restore_item_e"]
        self.make_layers(config)
        self.apply(xavier_uniform_initialization)

    # ---- what a subclass may change --------------------------------------------------------

    def make_graph(self, dataset: Any) -> BipartiteGraph:
        """Return the graph that is propagated over."""
        return BipartiteGraph.from_interactions(
            *training_pairs(dataset), self.n_users, self.n_items
        )

    def make_layers(self, config: Any) -> None:
        """Make what the backbone has beside the two tables, before the parameters are initialised.

        The options and the graph are there by then.
        """

    def forward(self) -> Any:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``.

        A subclass may return more behind them.
        """
        raise NotImplementedError

    def calculate_loss(self, interaction: Any) -> Any:
        """Return the ranking loss with its L2 term, a scalar; of a subclass, a tuple of parts."""
        self.forget_embeddings()
        users, items = self.forward()[:2]
        return self.ranking_loss(users, items, interaction) + self.l2_term(interaction)

    # ---- parts of a loss -------------------------------------------------------------------

    def get_ego_embeddings(self) -> Tensor:
        """Return the embeddings before propagation, float ``[n_users + n_items, d]``."""
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    def split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the users' and the items' rows of ``nodes``."""
        users, items = torch.split(nodes, [self.n_users, self.n_items])
        return users, items

    def pair_scores(self, users: Tensor, items: Tensor, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the batch's scores, of its positive and of its negative items.

        Args:
            users: float ``[n_users, d]``, the final embeddings.
            items: float ``[n_items, d]``.
            interaction: the batch.

        Returns:
            float ``[batch]`` each.
        """
        user = users[interaction[self.USER_ID]]
        positive = (user * items[interaction[self.ITEM_ID]]).sum(-1)
        negative = (user * items[interaction[self.NEG_ITEM_ID]]).sum(-1)
        return positive, negative

    def ranking_loss(self, users: Tensor, items: Tensor, interaction: Any) -> Tensor:
        """Return the BPR loss, the batch's mean of ``-log(σ(y_ui - y_uj) + 1e-10)``, a scalar.

        Args:
            users: float ``[n_users, d]``, the final embeddings.
            items: float ``[n_items, d]``.
            interaction: the batch, with a user, a positive and a negative item in each row.
        """
        own = own_rows(len(interaction))
        positive, negative = self.pair_scores(users, items, interaction[own.rows])
        return own.of_mean * self.mf_loss(positive, negative)

    def l2_term(self, interaction: Any) -> Tensor:
        """Return the L2 term, a scalar, ``reg_weight`` in it.

        With ``reg_form=full`` it is of the squared norms of all of :meth:`own_parameters`, as
        RLMRec has it; with ``batch`` of the norms of the batch's ego embeddings over its size, as
        RecBole has it.
        """
        if self.options.reg_form == "full":
            return self.reg_weight * squared_norms(self.own_parameters())
        rows = (
            self.user_embedding(interaction[self.USER_ID]),
            self.item_embedding(interaction[self.ITEM_ID]),
            self.item_embedding(interaction[self.NEG_ITEM_ID]),
        )
        return self.reg_weight * batch_norms(rows, squared=self.require_pow)

    def own_parameters(self) -> list[Tensor]:
        """Return the parameters that the L2 term of ``reg_form=full`` is of.

        A class that adds parameters of another kind on top of the backbone leaves them out here.
        """
        return list(self.parameters())

    # ---- scores ----------------------------------------------------------------------------

    def forget_embeddings(self) -> None:
        """Drop what an evaluation kept; a training step is about to change it."""
        self.restore_user_e = self.restore_item_e = None

    def ranking_embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings; an evaluation propagates once for all of its batches."""
        if self.training or torch.is_grad_enabled():
            users, items = self.forward()[:2]
            return users, items
        if self.restore_user_e is None or self.restore_item_e is None:
            self.restore_user_e, self.restore_item_e = self.forward()[:2]
        return self.restore_user_e, self.restore_item_e

    def predict(self, interaction: Any) -> Tensor:
        """Return the scores of pairs of users and items, float ``[batch]``."""
        users, items = self.ranking_embeddings()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(-1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores of all items, float ``[batch * n_items]``."""
        users, items = self.ranking_embeddings()
        return (users[interaction[self.USER_ID]] @ items.T).view(-1)

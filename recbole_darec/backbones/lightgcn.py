"""LightGCN (He et al., SIGIR 2020), with the choices that the papers' tables need."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from recbole_darec.backbones.graph_recommender import GraphRecommender
from recbole_darec.backbones.options import GraphOptions, RankLossOptions
from recbole_darec.backbones.propagation import aggregate_layers
from recbole_darec.backbones.softmax_ranking import SoftmaxRanking

__all__ = ["LightGCN", "LightGCNOptions"]


class LightGCNOptions(RankLossOptions, GraphOptions):
    """Options of LightGCN."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 3,
        "reg_weight": 1e-5,
    }


class LightGCN(SoftmaxRanking, GraphRecommender):
    """Light graph convolution: propagation with nothing to learn but layer 0.

    The layers are ``e^{l+1} = D^-1/2 A D^-1/2 e^l``; their weighted sum, equations (3) and (4),
    ranks.  Beside RecBole's LightGCN there are three options more: how the layers are aggregated,
    edge dropout in training, and the form of the L2 term.  With ``layer_aggregation=mean`` the
    scores and gradients are RecBole's to rounding.
    """

    Options: ClassVar[type] = LightGCNOptions
    options: LightGCNOptions
    replayable: ClassVar[bool] = True

    def make_layers(self, config: Any) -> None:
        """Make no parameters; read the option of RecBole's that no other of the backbones has."""
        self.require_pow = bool(config["require_pow"])

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``."""
        nodes = aggregate_layers(
            self.get_ego_embeddings(),
            self.graph,
            self.n_layers,
            how=self.options.layer_aggregation,
            keep_rate=self.options.edge_keep_rate if self.training else 1.0,
        )
        return self.split(nodes)

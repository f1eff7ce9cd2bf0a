"""SimGCL (Yu et al., SIGIR 2022): LightGCN with a contrast of two noisy views."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_darec.backbones.graph_recommender import GraphRecommender
from recbole_darec.backbones.noise import noisy_views
from recbole_darec.backbones.options import ContrastOptions, RankLossOptions
from recbole_darec.backbones.propagation import aggregate_over
from recbole_darec.backbones.softmax_ranking import SoftmaxRanking
from recbole_darec.backbones.views import contrast_rows_with_all, contrast_within_batch
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import option

__all__ = ["SimGCL", "SimGCLOptions"]


class SimGCLOptions(RankLossOptions, ContrastOptions):
    """Options of SimGCL."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 3,
        "reg_weight": 1e-5,
    }

    noise_eps: float = option(0.1, "Length of the noise that a row gets after a layer.", low=0.0)
    ssl_tau: float = option(0.2, "Temperature of the contrast.", above=0.0)
    ssl_weight: float = option(0.5, "Weight of the contrast.", low=0.0)
    include_ego: bool = option(
        False,
        "Whether layer 0 is among the aggregated layers (RLMRec); the paper leaves it out.",
    )
    contrast_candidates: str = option(
        "batch",
        "Whom a row is contrasted with: the batch's distinct users or items, a mean over them "
        "(the paper), or all users or items, each row of the batch counted (RLMRec).",
        choices=("batch", "all"),
    )


class SimGCL(SoftmaxRanking, GraphRecommender):
    """Simple graph contrastive learning: noise in the embeddings in place of dropped edges.

    Ranking is by the propagation without noise.  The defaults are the paper's, but for the sum of
    the layers; the preset ``paper`` sets what RLMRec's tables were made with.
    """

    Options: ClassVar[type] = SimGCLOptions
    options: SimGCLOptions
    replayable: ClassVar[bool] = True

    def make_layers(self, config: Any) -> None:
        """Make no parameters; refuse options that leave no layer.

        Raises:
            OptionError: there is neither layer 0 nor another.
        """
        if self.n_layers < 1 and not self.options.include_ego:
            raise OptionError(
                f"n_layers={self.n_layers} with include_ego=False leaves no layer to rank by: set "
                "n_layers to 1 or more"
            )

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``."""
        nodes = aggregate_over(
            self.get_ego_embeddings(),
            [self.graph] * self.n_layers,
            how=self.options.layer_aggregation,
            include_ego=self.options.include_ego,
        )
        return self.split(nodes)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the ranking loss with its L2 term, and the weighted contrast of the views."""
        self.forget_embeddings()
        users, items = self.forward()
        ranking = self.ranking_loss(users, items, interaction) + self.l2_term(interaction)
        return ranking, self.options.ssl_weight * self._contrast(interaction)

    def _contrast(self, interaction: Any) -> Tensor:
        """Return the contrast of two views, each batch's users and items, a mean over the batch."""
        options = self.options
        views = noisy_views(
            self.get_ego_embeddings(),
            self.graph,
            self.n_layers,
            noise=options.noise_eps,
            how=options.layer_aggregation,
            include_ego=options.include_ego,
        )
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        batch_size = len(users)
        if options.contrast_negatives:
            items = torch.cat([items, interaction[self.NEG_ITEM_ID]])
        first, second = (self.split(view) for view in views)
        if options.contrast_candidates == "batch":
            of_users, of_items = (
                contrast_within_batch(first[kind], second[kind], ids, options.ssl_tau)
                for kind, ids in enumerate((users, items))
            )
            return of_users + of_items
        # Row 0 is padding, and no candidate.
        of_users, of_items = (
            contrast_rows_with_all(first[kind][1:], second[kind][1:], ids - 1, options.ssl_tau)
            for kind, ids in enumerate((users, items))
        )
        return (of_users + of_items) / batch_size

"""NCL (Lin et al., WWW 2022), with a K-Means of this package in place of faiss."""

from __future__ import annotations

from logging import getLogger
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_darec.backbones.graph_recommender import GraphRecommender
from recbole_darec.backbones.options import AggregatedOptions, RegularizedOptions
from recbole_darec.backbones.propagation import propagate_layers
from recbole_darec.backbones.views import contrast_rows_with_all
from recbole_darec.numerics import info_nce, kmeans, unique_with_counts, unit_rows
from recbole_darec.settings.options import option

__all__ = ["NCL", "NCLOptions"]

# As many as the K-Means of faiss, which RecBole's NCL calls with its defaults.
_KMEANS_ITERATIONS = 25

_CLUSTERS = ("user_centroids", "user_2cluster", "item_centroids", "item_2cluster")


class NCLOptions(RegularizedOptions, AggregatedOptions):
    """Options of NCL.

    ssl_reg and proto_reg are RecBole's, for contrasts that are sums over the batch beside a ranking
    loss that is a mean.
    """

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 3,
        "reg_weight": 1e-4,
    }

    ssl_temp: float = option(0.1, "Temperature of both contrasts.", above=0.0)
    ssl_reg: float = option(1e-7, "Weight of the contrast with structural neighbors.", low=0.0)
    hyper_layers: int = option(
        1,
        "Half the number of the layer that is contrasted with layer 0; it may lie behind n_layers, "
        "and is then propagated to for the contrast alone.",
        low=1,
    )
    alpha: float = option(
        1.0, "Weight of the items beside the users in the contrast with neighbors.", low=0.0
    )
    proto_reg: float = option(8e-8, "Weight of the contrast with prototypes.", low=0.0)
    num_clusters: int = option(
        1000,
        "Clusters of the users, and as many of the items; at most one for each of them.",
        low=1,
    )
    m_step: int = option(1, "Epochs between two clusterings.", low=1)
    warm_up_step: int = option(
        20, "Epochs at the start without the contrast with prototypes.", low=0
    )
    loss_reduction: str = option(
        "sum",
        "What the two contrasts are over the batch: sum (RecBole, whose ssl_reg and proto_reg are "
        "meant for it) or mean, with which the weights no longer depend on the batch size and "
        "must be as much larger. The ranking loss is a mean with either.",
        choices=("mean", "sum"),
    )


class NCL(GraphRecommender):
    """Neighborhood-enriched contrastive learning: LightGCN and two contrasts.

    A node's even layer is contrasted with its layer 0, and its layer 0 with the center of its
    cluster.  Trained by RecBole's ``NCLTrainer``, which clusters every ``m_step`` epochs.

    With ``layer_aggregation=mean`` the loss and its gradient are RecBole's to rounding, for the
    same clusters.  These are other ones than faiss finds: the padding is not clustered, there are
    never more clusters than users or items, and they depend on nothing but the embeddings and the
    seed, so that a run with an aligner or a resumed one draws no other random numbers.

    Attributes:
        user_centroids: float ``[k, d]``, the users' cluster centers scaled to unit length; None
            before the first E-step, as are the others.
        user_2cluster: int ``[n_users]``, the cluster of each user; the padding's means nothing.
        item_centroids: float ``[k, d]``.
        item_2cluster: int ``[n_items]``.
    """

    Options: ClassVar[type] = NCLOptions
    options: NCLOptions
    user_centroids: Tensor | None
    user_2cluster: Tensor | None
    item_centroids: Tensor | None
    item_2cluster: Tensor | None

    def make_layers(self, config: Any) -> None:
        """Make no parameters; there are no clusters before the first E-step."""
        self.seed = int(config["seed"])
        self.user_centroids = self.user_2cluster = None
        self.item_centroids = self.item_2cluster = None
        # A snapshot between two E-steps needs the clusters of the last one.
        self.other_parameter_name += _CLUSTERS
        wanted, n_users, n_items = self.options.num_clusters, self.n_users - 1, self.n_items - 1
        if wanted > min(n_users, n_items):
            getLogger().warning(
                f"num_clusters={wanted} is more than there are to cluster: "
                f"{min(wanted, n_users):,} clusters of {n_users:,} users and "
                f"{min(wanted, n_items):,} of {n_items:,} items are made; set num_clusters lower"
            )

    # ---- clusters --------------------------------------------------------------------------

    @torch.no_grad()
    def e_step(self) -> None:
        """Cluster the users and the items by their embeddings before propagation."""
        users, items = self.user_embedding.weight, self.item_embedding.weight
        self.user_centroids, self.user_2cluster = self._clustered(users)
        self.item_centroids, self.item_2cluster = self._clustered(items)

    def _clustered(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Cluster the rows of a table, all but the padding in row 0.

        The start is as many different rows, drawn from the seed in each E-step anew.

        Args:
            table: float ``[n, d]``.

        Returns:
            The centers scaled to unit length, float ``[k, d]`` with ``k`` at most ``n - 1``, and
            the cluster of each row, int ``[n]``.
        """
        rows = table.detach()[1:].float()
        k = min(self.options.num_clusters, len(rows))
        generator = torch.Generator(rows.device).manual_seed(self.seed)
        start = torch.randperm(len(rows), generator=generator, device=rows.device)[:k]
        labels, centers = kmeans(rows, k, init_centers=rows[start], iterations=_KMEANS_ITERATIONS)
        return unit_rows(centers), torch.cat([labels.new_zeros(1), labels])

    def load_other_parameter(self, para: Any) -> None:
        """Take the clusters of a checkpoint, onto the device of the embeddings."""
        super().load_other_parameter(para)
        for name in _CLUSTERS:
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value.to(self.user_embedding.weight.device))

    # ---- embeddings ------------------------------------------------------------------------

    def forward(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the embeddings of users and items, and all nodes layer by layer.

        Returns:
            Users ``[n_users, d]``, items ``[n_items, d]``, and ``[n_users + n_items, d]`` for each
            layer up to ``n_layers`` or to the contrasted one, whichever is further.
        """
        depth = max(self.n_layers, 2 * self.options.hyper_layers)
        layers = list(propagate_layers(self.get_ego_embeddings(), self.graph, depth))
        nodes = layers[0]
        for layer in layers[1 : self.n_layers + 1]:
            nodes = nodes + layer
        if self.options.layer_aggregation == "mean":
            nodes = nodes / (self.n_layers + 1)
        users, items = self.split(nodes)
        return users, items, layers

    # ---- loss ------------------------------------------------------------------------------

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ranking loss with its L2 term, and the weighted contrasts.

        The contrast with the prototypes is the last part: ``NCLTrainer`` drops it in the warm-up.

        Raises:
            RuntimeError: there was no E-step yet.
        """
        self.forget_embeddings()
        users, items, layers = self.forward()
        ranking = self.ranking_loss(users, items, interaction)
        if self.user_2cluster is None:
            raise RuntimeError("NCL has no clusters before the first e_step()")
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        scale = 1.0 / len(user) if self.options.loss_reduction == "mean" else 1.0
        # Not layers[0]: where an aligner masks what is propagated, the tables are still whole.
        ego = self.get_ego_embeddings()
        neighbors = self._neighbor_contrast(layers[2 * self.options.hyper_layers], ego, user, item)
        prototypes = self._prototype_contrast(ego, user, item)
        return ranking + self.l2_term(interaction), scale * neighbors, scale * prototypes

    def _neighbor_contrast(self, layer: Tensor, ego: Tensor, user: Tensor, item: Tensor) -> Tensor:
        """Contrast of the batch's nodes with their structural neighbors (section 3.2), a sum.

        For a user ``u`` it is ``-log(exp(cos(e_u^k, e_u^0) / τ) / Σ_v exp(cos(e_u^k, e_v^0) / τ))``
        over all users ``v``, and for an item alike; the items' sum has the weight ``alpha``.

        Args:
            layer: float ``[n_users + n_items, d]``, an even layer ``k``, in which a node holds
                what is near to it and of its own kind.
            ego: float, of the same shape, layer 0.
            user: int ``[batch]``.
            item: int ``[batch]``, the positive ones.

        Returns:
            a scalar, ``ssl_reg`` in it.
        """
        of_users, of_items = (
            contrast_rows_with_all(near, own, ids, self.options.ssl_temp)
            for near, own, ids in zip(self.split(layer), self.split(ego), (user, item))
        )
        return self.options.ssl_reg * (of_users + self.options.alpha * of_items)

    def _prototype_contrast(self, ego: Tensor, user: Tensor, item: Tensor) -> Tensor:
        """Contrast of the batch's nodes with their prototypes (section 3.3), a sum.

        A node's prototype ``c_i`` is its cluster's center: it is
        ``-log(exp(cos(e_u^0, c_i) / τ) / Σ_j exp(cos(e_u^0, c_j) / τ))`` over all centers.

        Args:
            ego: float ``[n_users + n_items, d]``, layer 0.
            user: int ``[batch]``.
            item: int ``[batch]``, the positive ones.

        Returns:
            a scalar, ``proto_reg`` in it.
        """
        users, items = self.split(ego)
        of_users = self._to_prototypes(users, user, self.user_centroids, self.user_2cluster)
        of_items = self._to_prototypes(items, item, self.item_centroids, self.item_2cluster)
        return self.options.proto_reg * (of_users + of_items)

    def _to_prototypes(
        self, nodes: Tensor, ids: Tensor, centers: Tensor | None, clusters: Tensor | None
    ) -> Tensor:
        assert centers is not None
        assert clusters is not None
        rows, counts = unique_with_counts(ids)
        own = centers[clusters[rows]]
        return info_nce(nodes[rows], own, centers, self.options.ssl_temp, weights=counts)

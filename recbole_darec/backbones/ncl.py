"""NCL (Lin et al., WWW 2022) as RecBole has it, on the fast propagation and without faiss."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import torch
from recbole.model.general_recommender.ncl import NCL as RecBoleNCL
from torch import Tensor

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.options import NCLOptions
from recbole_darec.backbones.propagation import propagate_layers
from recbole_darec.backbones.regularization import squared_norms
from recbole_darec.backbones.views import contrast_rows_with_all
from recbole_darec.numerics import counted, info_nce, kmeans, unit_rows
from recbole_darec.settings.options import options_from_config

__all__ = ["NCL"]

# As many as the K-Means of faiss, which RecBole's NCL calls with its defaults.
_KMEANS_ITERATIONS = 25

_CLUSTERS = ("user_centroids", "user_2cluster", "item_centroids", "item_2cluster")


class NCL(RecBoleNCL):
    """RecBole's NCL with CSR propagation, blocked contrasts and a K-Means of this package.

    The class adds the options of :class:`~recbole_darec.backbones.options.NCLOptions` to RecBole's.
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

    reg_weight: float
    user_centroids: Tensor | None
    user_2cluster: Tensor | None
    item_centroids: Tensor | None
    item_2cluster: Tensor | None

    def __init__(self, config: Any, dataset: Any) -> None:
        self.options = options_from_config(NCLOptions, config)
        self.seed = int(config["seed"])
        super().__init__(config, dataset)
        # A snapshot between two E-steps needs the clusters of the last one.
        self.other_parameter_name = ["restore_user_e", "restore_item_e", *_CLUSTERS]
        n_users, n_items = self.n_users - 1, self.n_items - 1
        if self.k > min(n_users, n_items):
            getLogger().warning(
                f"num_clusters={self.k} is more than there are to cluster: "
                f"{min(self.k, n_users):,} clusters of {n_users:,} users and "
                f"{min(self.k, n_items):,} of {n_items:,} items are made; set num_clusters lower"
            )

    # ---- clusters --------------------------------------------------------------------------

    @torch.no_grad()
    def e_step(self) -> None:
        """Cluster the users and the items by their embeddings before propagation."""
        users, items = self.user_embedding.weight, self.item_embedding.weight
        self.user_centroids, self.user_2cluster = self.run_kmeans(users)
        self.item_centroids, self.item_2cluster = self.run_kmeans(items)

    @torch.no_grad()
    def run_kmeans(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cluster the rows of a table, all but the padding in row 0.

        The start is as many different rows, drawn from the seed in each E-step anew.

        Args:
            x: float ``[n, d]``.

        Returns:
            The centers scaled to unit length, float ``[k, d]`` with ``k`` at most ``n - 1``, and
            the cluster of each row, int ``[n]``.
        """
        rows = x.detach()[1:].float()
        k = min(self.k, len(rows))
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

    def get_norm_adj_mat(self) -> BipartiteGraph:
        """Return the normalised adjacency; RecBole's constructor moves it to the device."""
        pairs = self.interaction_matrix
        return BipartiteGraph.from_interactions(pairs.row, pairs.col, self.n_users, self.n_items)

    def forward(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the embeddings of users and items, and all nodes layer by layer.

        Returns:
            Users ``[n_users, d]``, items ``[n_items, d]``, and ``[n_users + n_items, d]`` for each
            layer up to ``n_layers`` or to the contrasted one, whichever is further.
        """
        depth = max(self.n_layers, 2 * self.hyper_layers)
        layers = list(propagate_layers(self.get_ego_embeddings(), self.norm_adj_mat, depth))
        nodes = layers[0]
        for layer in layers[1 : self.n_layers + 1]:
            nodes = nodes + layer
        if self.options.layer_aggregation == "mean":
            nodes = nodes / (self.n_layers + 1)
        users, items = torch.split(nodes, [self.n_users, self.n_items])
        return users, items, layers

    # ---- loss ------------------------------------------------------------------------------

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ranking loss with its L2 term, and the weighted contrasts.

        The contrast with the prototypes is the last part: ``NCLTrainer`` drops it in the warm-up.

        Raises:
            RuntimeError: there was no E-step yet.
        """
        self.restore_user_e = self.restore_item_e = None
        users, items, layers = self.forward()
        if self.user_2cluster is None:
            raise RuntimeError("NCL has no clusters before the first e_step()")
        user, item, other = (
            interaction[name] for name in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID)
        )
        scale = 1.0 / len(user) if self.options.loss_reduction == "mean" else 1.0
        of_user = users[user]
        ranking = self.mf_loss((of_user * items[item]).sum(-1), (of_user * items[other]).sum(-1))
        # Not layers[0]: where an aligner masks what is propagated, the tables are still whole.
        center = self.get_ego_embeddings()
        structure = self.ssl_layer_loss(layers[2 * self.hyper_layers], center, user, item)
        prototypes = self.ProtoNCE_loss(center, user, item)
        return ranking + self._l2_term(user, item, other), scale * structure, scale * prototypes

    def ssl_layer_loss(
        self, current_embedding: Tensor, previous_embedding: Tensor, user: Tensor, item: Tensor
    ) -> Tensor:
        """Contrast of a node with its structural neighbors (section 3.2), a sum over the batch.

        Args:
            current_embedding: float ``[n_users + n_items, d]``, an even layer, in which a node
                holds what is near to it and of its own kind.
            previous_embedding: float, of the same shape, layer 0; all its users or items are the
                denominator.
            user: int ``[batch]``.
            item: int ``[batch]``, the positive ones.

        Returns:
            a scalar, ``ssl_reg`` in it.
        """
        sizes = [self.n_users, self.n_items]
        of_users, of_items = (
            contrast_rows_with_all(near, own, ids, self.ssl_temp)
            for near, own, ids in zip(
                torch.split(current_embedding, sizes),
                torch.split(previous_embedding, sizes),
                (user, item),
            )
        )
        return self.ssl_reg * (of_users + self.alpha * of_items)

    def ProtoNCE_loss(self, node_embedding: Tensor, user: Tensor, item: Tensor) -> Tensor:
        """Contrast of a node with its prototype, its cluster's center, among all centers.

        Section 3.3, a sum over the batch.

        Args:
            node_embedding: float ``[n_users + n_items, d]``, layer 0.
            user: int ``[batch]``.
            item: int ``[batch]``, the positive ones.

        Returns:
            a scalar, ``proto_reg`` in it.
        """
        users, items = torch.split(node_embedding, [self.n_users, self.n_items])
        of_users = self._to_prototypes(users, user, self.user_centroids, self.user_2cluster)
        of_items = self._to_prototypes(items, item, self.item_centroids, self.item_2cluster)
        return self.proto_reg * (of_users + of_items)

    def _to_prototypes(
        self, nodes: Tensor, ids: Tensor, centers: Tensor | None, clusters: Tensor | None
    ) -> Tensor:
        assert centers is not None
        assert clusters is not None
        rows, counts = counted(ids)
        own = centers[clusters[rows]]
        return info_nce(nodes[rows], own, centers, self.ssl_temp, weights=counts)

    def _l2_term(self, user: Tensor, item: Tensor, other: Tensor) -> Tensor:
        if self.options.reg_form == "full":
            tables = (self.user_embedding.weight, self.item_embedding.weight)
            return self.reg_weight * squared_norms(tables)
        rows = (self.user_embedding(user), self.item_embedding(item), self.item_embedding(other))
        return self.reg_weight * self.reg_loss(*rows).reshape(())

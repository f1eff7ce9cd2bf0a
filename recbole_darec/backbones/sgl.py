"""SGL (Wu et al., SIGIR 2021) as RecBole has it, on the fast propagation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.model.general_recommender.sgl import SGL as RecBoleSGL
from torch import Tensor
from torch.nn.functional import logsigmoid

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.options import SGLOptions
from recbole_darec.backbones.propagation import aggregate_layers, aggregate_over
from recbole_darec.backbones.regularization import squared_norms
from recbole_darec.backbones.views import contrast_rows_with_all
from recbole_darec.settings.options import options_from_config

__all__ = ["SGL"]

# A view's graph, or one graph for each of its layers (the random walk).
ViewGraph = BipartiteGraph | list[BipartiteGraph]


class SGL(RecBoleSGL):
    """RecBole's SGL with CSR propagation, a blocked contrast, and the choices of RLMRec's tables.

    The class adds the options of :class:`~recbole_darec.backbones.options.SGLOptions` to RecBole's.
    With ``layer_aggregation=mean`` and ``loss_reduction=sum`` the augmented graphs, the loss and
    its gradient are RecBole's to rounding, from the same seed.  ``mean`` divides that loss by the
    batch size, all but the L2 term: RecBole's sum grows with the batch, and an aligner's weight
    beside it would mean a two-thousandth of what it means over the other backbones.
    """

    _user: np.ndarray
    _item: np.ndarray

    def __init__(self, config: Any, dataset: Any) -> None:
        self.options = options_from_config(SGLOptions, config)
        self.sub_graph1: ViewGraph | None = None
        self.sub_graph2: ViewGraph | None = None
        super().__init__(config, dataset)

    # ---- graphs ----------------------------------------------------------------------------

    def create_adjust_matrix(self, is_sub: bool) -> BipartiteGraph:
        """Return the normalised adjacency, whole or with what the view's operator leaves.

        The draws are RecBole's, from NumPy's global generator.  A repeated pair is one edge and is
        drawn once; RecBole would give it the weight 2.
        """
        if not is_sub:
            self._user, self._item = _distinct(np.asarray(self._user), np.asarray(self._item))
            # Of each edge in the order of the graph, its place in the order of the data.
            self._edge_order = torch.from_numpy(np.lexsort((self._item, self._user)))
            return BipartiteGraph.from_interactions(
                self._user, self._item, self.n_users, self.n_items
            )
        kept = torch.from_numpy(self._draw_kept())[self._edge_order]
        return self.train_graph.subgraph(kept.to(self.train_graph.columns.device))

    def csr2tensor(self, matrix: BipartiteGraph) -> BipartiteGraph:
        """Return the graph on the model's device."""
        return matrix.to(self.device)

    def graph_construction(self) -> None:
        """Draw the augmented graphs of an epoch; RecBole calls it in ``train()``."""
        if self.options.view_graphs == "epoch":
            super().graph_construction()

    def _draw_kept(self) -> np.ndarray:
        """Return which edges a view keeps, bool ``[n_edges]``, in the order of the data."""
        if self.type == "ND":
            dropped = []
            for count in (self.n_users, self.n_items):
                chosen = self.rand_sample(count, size=int(count * self.drop_ratio), replace=False)
                dropped.append(np.zeros(count, dtype=bool))
                dropped[-1][chosen] = True
            return ~(dropped[0][self._user] | dropped[1][self._item])
        n_edges = len(self._user)
        kept = np.zeros(n_edges, dtype=bool)
        size = int(n_edges * (1 - self.drop_ratio))
        kept[self.rand_sample(n_edges, size=size, replace=False)] = True
        return kept

    # ---- embeddings ------------------------------------------------------------------------

    def forward(self, graph: ViewGraph | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings of users ``[n_users, d]`` and items ``[n_items, d]``.

        Args:
            graph: what is propagated over; by default the whole graph.
        """
        return self._propagate(self.train_graph if graph is None else graph)

    def _propagate(self, graph: ViewGraph, keep_rate: float = 1.0) -> tuple[Tensor, Tensor]:
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        how = self.options.layer_aggregation
        if isinstance(graph, list):
            nodes = aggregate_over(ego, graph, how=how)
        else:
            nodes = aggregate_layers(ego, graph, self.n_layers, how=how, keep_rate=keep_rate)
        users, items = torch.split(nodes, [self.n_users, self.n_items])
        return users, items

    def _views(self) -> list[tuple[Tensor, Tensor]]:
        """Return users and items of the two views."""
        if self.options.view_graphs == "step":
            keep_rate = 1.0 - self.drop_ratio
            return [self._propagate(self.train_graph, keep_rate) for _ in range(2)]
        if self.sub_graph1 is None or self.sub_graph2 is None:
            self.graph_construction()
        assert self.sub_graph1 is not None
        assert self.sub_graph2 is not None
        return [self._propagate(graph) for graph in (self.sub_graph1, self.sub_graph2)]

    # ---- loss ------------------------------------------------------------------------------

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the ranking loss with its L2 term, and the weighted contrast of the views."""
        self.restore_user_e = self.restore_item_e = None
        users, items = self.forward(self.train_graph)
        rows = [interaction[name] for name in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID)]
        scale = 1.0 / len(rows[0]) if self.options.loss_reduction == "mean" else 1.0
        user = users[rows[0]]
        difference = (user * items[rows[1]]).sum(-1) - (user * items[rows[2]]).sum(-1)
        ranking = scale * -logsigmoid(difference).sum() + self._l2_term(*rows)
        return ranking, scale * self.ssl_weight * self._contrast(*rows)

    def _contrast(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        """Return the contrast of the two views, a sum over the batch."""
        first, second = self._views()
        if self.options.contrast_negatives:
            items = torch.cat([items, negatives])
        of_users, of_items = (
            contrast_rows_with_all(first[kind], second[kind], ids, self.ssl_tau)
            for kind, ids in enumerate((users, items))
        )
        return of_users + of_items

    def _l2_term(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        if self.options.reg_form == "full":
            tables = (self.user_embedding.weight, self.item_embedding.weight)
            return self.reg_weight * squared_norms(tables)
        rows = (
            self.user_embedding(users),
            self.item_embedding(items),
            self.item_embedding(negatives),
        )
        return self.reg_weight * self.reg_loss(*rows).reshape(())


def _distinct(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs without repetitions, in the order in which they first stand."""
    first = np.unique(np.stack([users, items]), axis=1, return_index=True)[1]
    first.sort()
    return users[first], items[first]

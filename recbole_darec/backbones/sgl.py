"""SGL (Wu et al., SIGIR 2021), with the choices that RLMRec's tables need."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.graph_recommender import GraphRecommender, training_pairs
from recbole_darec.backbones.options import ContrastOptions
from recbole_darec.backbones.propagation import aggregate_layers, aggregate_over
from recbole_darec.backbones.views import contrast_rows_with_all
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import option

__all__ = ["SGL", "SGLOptions"]

# A view's graph, or one graph for each of its layers (the random walk).
ViewGraph = BipartiteGraph | list[BipartiteGraph]


class SGLOptions(ContrastOptions):
    """Options of SGL.

    RecBole's loss is a sum over the batch.  Here it is a mean by default: over a sum an aligner's
    weight would count 2048 times less than over the other backbones.  The contrast's weight stays
    the same beside the ranking loss; that of the L2 term grows by the batch size.
    """

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 3,
        "reg_weight": 1e-5,
    }

    type: str = option(
        "ED",
        "What a view loses: edges, nodes, or in each layer other edges (a random walk).",
        choices=("ED", "ND", "RW"),
    )
    drop_ratio: float = option(0.1, "Share of them that a view loses.", low=0.0, below=1.0)
    ssl_tau: float = option(0.5, "Temperature of the contrast.", above=0.0)
    ssl_weight: float = option(0.05, "Weight of the contrast.", low=0.0)
    view_graphs: str = option(
        "epoch",
        "When the views' graphs are drawn: each epoch, normalised anew (the paper, RecBole), or "
        "each step, directed edges dropped and not rescaled (RLMRec).",
        choices=("epoch", "step"),
    )
    loss_reduction: str = option(
        "mean",
        "What ranking loss and contrast are over the batch: mean (RLMRec, and what an aligner's "
        "weight is meant beside) or sum (RecBole).",
        choices=("mean", "sum"),
    )

    def check_together(self) -> None:
        """Refuse views of a step that drop anything but edges."""
        if self.view_graphs == "step" and self.type != "ED":
            raise OptionError(
                f"view_graphs=step drops edges, and type={self.type} is another operator: set "
                "type=ED or view_graphs=epoch"
            )


class SGL(GraphRecommender):
    """Self-supervised graph learning: LightGCN with a contrast of two augmented graphs.

    Ranking is by the whole graph.  With ``layer_aggregation=mean`` and ``loss_reduction=sum`` the
    augmented graphs, the loss and its gradient are those of RecBole's SGL to rounding, from the
    same seed.  ``loss_reduction=mean`` divides that loss by the batch size, all but the L2 term:
    RecBole's sum grows with the batch, and an aligner's weight beside it would mean a
    two-thousandth of what it means over the other backbones.

    Attributes:
        augmented_graphs: the graphs of the two views of this epoch, None before the first one and
            where each step draws its own.
    """

    Options: ClassVar[type] = SGLOptions
    options: SGLOptions
    augmented_graphs: tuple[ViewGraph, ViewGraph] | None

    # ---- graphs ----------------------------------------------------------------------------

    def make_graph(self, dataset: Any) -> BipartiteGraph:
        """Return the whole graph, and keep its edges in the order of the data.

        A repeated pair is one edge and is drawn once; RecBole would give it the weight 2.
        """
        self._users, self._items = _distinct(*training_pairs(dataset))
        # Of each edge in the order of the graph, its place in the order of the data.
        self._edge_order = torch.from_numpy(np.lexsort((self._items, self._users)))
        return BipartiteGraph.from_interactions(
            self._users, self._items, self.n_users, self.n_items
        )

    def make_layers(self, config: Any) -> None:
        """Make no parameters; the first epoch draws the augmented graphs."""
        self.augmented_graphs = None

    def train(self, mode: bool = True) -> SGL:
        """Set the mode; an epoch, at whose start this is called, draws its augmented graphs."""
        super().train(mode)
        if mode and self.options.view_graphs == "epoch":
            self.draw_graphs()
        return self

    def draw_graphs(self) -> None:
        """Draw the augmented graphs of both views (section 3.1).

        The draws are RecBole's, from NumPy's global generator.
        """
        self.augmented_graphs = (self._drawn_graph(), self._drawn_graph())

    def _drawn_graph(self) -> ViewGraph:
        if self.options.type == "RW":
            return [self._thinned() for _ in range(self.n_layers)]
        return self._thinned()

    def _thinned(self) -> BipartiteGraph:
        """Return the graph of the edges that one drawing keeps, normalised anew."""
        kept = torch.from_numpy(self._draw_kept())[self._edge_order]
        return self.graph.subgraph(kept.to(self.graph.columns.device))

    def _draw_kept(self) -> np.ndarray:
        """Return which edges a view keeps, bool ``[n_edges]``, in the order of the data."""
        drop_ratio = self.options.drop_ratio
        if self.options.type == "ND":
            users, items = (
                ~_chosen(count, int(count * drop_ratio)) for count in (self.n_users, self.n_items)
            )
            return users[self._users] & items[self._items]
        n_edges = len(self._users)
        return _chosen(n_edges, int(n_edges * (1 - drop_ratio)))

    # ---- embeddings ------------------------------------------------------------------------

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users ``[n_users, d]`` and items ``[n_items, d]``."""
        return self._propagate(self.graph)

    def _propagate(self, graph: ViewGraph, keep_rate: float = 1.0) -> tuple[Tensor, Tensor]:
        ego = self.get_ego_embeddings()
        how = self.options.layer_aggregation
        if isinstance(graph, list):
            return self.split(aggregate_over(ego, graph, how=how))
        return self.split(aggregate_layers(ego, graph, self.n_layers, how=how, keep_rate=keep_rate))

    def _views(self) -> list[tuple[Tensor, Tensor]]:
        """Return users and items of the two views."""
        if self.options.view_graphs == "step":
            keep_rate = 1.0 - self.options.drop_ratio
            return [self._propagate(self.graph, keep_rate) for _ in range(2)]
        if self.augmented_graphs is None:
            self.draw_graphs()
        assert self.augmented_graphs is not None
        return [self._propagate(graph) for graph in self.augmented_graphs]

    # ---- loss ------------------------------------------------------------------------------

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the ranking loss with its L2 term, and the weighted contrast of the views.

        Section 3.3, multi-task training.
        """
        self.forget_embeddings()
        users, items = self.forward()
        scale = 1.0
        if self.options.loss_reduction == "mean":
            scale = 1.0 / len(interaction[self.USER_ID])
        ranking = scale * self.ranking_loss(users, items, interaction) + self.l2_term(interaction)
        return ranking, scale * self.options.ssl_weight * self._contrast(interaction)

    def ranking_loss(self, users: Tensor, items: Tensor, interaction: Any) -> Tensor:
        """Return the BPR loss, the batch's sum of ``-log σ(y_ui - y_uj)``, a scalar."""
        positive, negative = self.pair_scores(users, items, interaction)
        return -logsigmoid(positive - negative).sum()

    def _contrast(self, interaction: Any) -> Tensor:
        """Return the contrast of the two views, a sum over the batch (equation 10)."""
        first, second = self._views()
        items = interaction[self.ITEM_ID]
        if self.options.contrast_negatives:
            items = torch.cat([items, interaction[self.NEG_ITEM_ID]])
        of_users, of_items = (
            contrast_rows_with_all(first[kind], second[kind], ids, self.options.ssl_tau)
            for kind, ids in enumerate((interaction[self.USER_ID], items))
        )
        return of_users + of_items


def _chosen(count: int, size: int) -> np.ndarray:
    """Return which ``size`` of ``count`` things a draw without replacement takes, bool."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.choice(count, size=size, replace=False)] = True  # noqa: NPY002 - as RecBole
    return chosen


def _distinct(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs without repetitions, in the order in which they first stand."""
    first = np.unique(np.stack([users, items]), axis=1, return_index=True)[1]
    first.sort()
    return users[first], items[first]

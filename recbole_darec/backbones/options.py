"""Options of the backbones; no torch here, so that the command line can read them."""

from __future__ import annotations

from typing import ClassVar

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option

__all__ = [
    "AutoCFOptions",
    "DCCFOptions",
    "GCCFOptions",
    "GraphOptions",
    "NCLOptions",
    "SGLOptions",
    "SimGCLOptions",
]


class _Regularized(Options):
    """What every backbone of this package has."""

    reg_form: str = option(
        "batch",
        "What reg_weight multiplies: RecBole's norms of the batch's embeddings, or the squared "
        "norms of all the backbone's parameters, as RLMRec has it.",
        choices=("batch", "full"),
    )


class _Aggregated(Options):
    """A backbone whose layers are added up."""

    layer_aggregation: str = option(
        "sum",
        "How the layers are joined: sum (RLMRec, DaRec) or mean (RecBole, the backbones' papers).",
        choices=("mean", "sum"),
    )


class _EdgeDropout(Options):
    """A backbone whose graph itself loses edges in training."""

    edge_keep_rate: float = option(
        1.0,
        "Share of the graph's directed edges, self-loops among them, kept in a training step, not "
        "rescaled.",
        above=0.0,
        high=1.0,
    )


class GraphOptions(_Regularized, _EdgeDropout, _Aggregated):
    """Choices of a backbone that propagates over the user-item graph."""

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 3, "reg_weight": 1e-5}


class GCCFOptions(_Regularized, _EdgeDropout):
    """Options of GCCF, whose layers are concatenated.

    The layers are concatenated: what ranks is n_layers + 1 times as wide as embedding_size.
    """

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 2, "reg_weight": 1e-5}


class _ContrastOptions(_Regularized, _Aggregated):
    """What SGL and SimGCL share: two views of a graph that itself keeps all of its edges."""

    contrast_negatives: bool = option(
        False,
        "Whether the batch's negative items are contrasted beside its positive ones, as RLMRec "
        "has it.",
    )


class NCLOptions(_Regularized, _Aggregated):
    """Options of NCL.

    ssl_reg and proto_reg are RecBole's, for contrasts that are sums over the batch beside a ranking
    loss that is a mean.
    """

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 3, "reg_weight": 1e-4}

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


class SGLOptions(_ContrastOptions):
    """Options of SGL.

    RecBole's loss is a sum over the batch.  Here it is a mean by default: over a sum an aligner's
    weight would count 2048 times less than over the other backbones.  The contrast's weight stays
    the same beside the ranking loss; that of the L2 term grows by the batch size.
    """

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 3, "reg_weight": 1e-5}

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


class SimGCLOptions(_ContrastOptions):
    """Options of SimGCL."""

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 3, "reg_weight": 1e-5}

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


class DCCFOptions(_Regularized):
    """Options of DCCF."""

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 2, "reg_weight": 1e-5}

    n_intents: int = option(128, "Intent prototypes of the users, and as many of the items.", low=1)
    ssl_weight: float = option(0.001, "Weight of the contrast.", low=0.0)
    ssl_tau: float = option(0.1, "Temperature of the contrast.", above=0.0)


class AutoCFOptions(_Regularized):
    """Options of AutoCF."""

    RECBOLE_DEFAULTS: ClassVar = {"embedding_size": 64, "n_layers": 2, "reg_weight": 1e-6}

    gt_layers: int = option(1, "Graph-transformer layers of the decoder.", low=1)
    n_heads: int = option(
        4, "Attention heads of a decoder layer; they must divide embedding_size.", low=1
    )
    ssl_weight: float = option(
        1.0,
        "Weight of the contrast among the users and among the items, beside that of users with "
        "items, which has weight 1.",
        low=0.0,
    )
    n_seeds: int = option(
        500, "Nodes around which edges are cut out; at most as many as users and items.", low=1
    )
    mask_depth: int = option(2, "Hops around a seed within which edges are cut out.", low=1)
    keep_nodes: float = option(
        0.2,
        "Share of all nodes, drawn at random, that the decoder's random pairs are drawn from "
        "beside the masked ones.",
        low=0.0,
        high=1.0,
    )
    mask_every: int = option(
        10,
        "Steps between two drawings of the mask; the first step of an epoch draws it too.",
        low=1,
    )
    self_loops: bool = option(
        True,
        "Whether the adjacency has self-loops, in ranking and in the mask scores; the equations "
        "of these take them away again.",
    )

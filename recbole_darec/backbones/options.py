"""Options that several backbones share; no torch here, so that the command line can read them."""

from __future__ import annotations

from recbole_darec.settings.options import Options, option

__all__ = [
    "AggregatedOptions",
    "ContrastOptions",
    "EdgeDropoutOptions",
    "GraphOptions",
    "RankLossOptions",
    "RegularizedOptions",
]


class RegularizedOptions(Options):
    """What every backbone of this package has."""

    reg_form: str = option(
        "batch",
        "What reg_weight multiplies: RecBole's norms of the batch's embeddings, or the squared "
        "norms of all the backbone's parameters, as RLMRec has it.",
        choices=("batch", "full"),
    )


class AggregatedOptions(Options):
    """A backbone whose layers are added up."""

    layer_aggregation: str = option(
        "sum",
        "How the layers are joined: sum (RLMRec, DaRec) or mean (RecBole, the backbones' papers).",
        choices=("mean", "sum"),
    )


class EdgeDropoutOptions(Options):
    """A backbone whose graph itself loses edges in training."""

    edge_keep_rate: float = option(
        1.0,
        "Share of the graph's directed edges, self-loops among them, kept in a training step, not "
        "rescaled.",
        above=0.0,
        high=1.0,
    )


class GraphOptions(RegularizedOptions, EdgeDropoutOptions, AggregatedOptions):
    """Choices of a backbone that propagates over the user-item graph."""


class ContrastOptions(RegularizedOptions, AggregatedOptions):
    """What SGL and SimGCL share: two views of a graph that itself keeps all of its edges."""

    contrast_negatives: bool = option(
        False,
        "Whether the batch's negative items are contrasted beside its positive ones, as RLMRec "
        "has it.",
    )


class RankLossOptions(Options):
    """A backbone that can rank each target against many items instead of one."""

    rank_loss: str = option(
        "bpr",
        "How a target is ranked: against one negative item (bpr), or against many by a softmax "
        "over inner products.",
        choices=("bpr", "softmax"),
        since="0.2",
    )
    softmax_items: int | str = option(
        "all",
        "Items in the softmax beside the target: all, or so many drawn in each step, each of which "
        "stands for its share of all.",
        low=1,
        or_word="all",
        since="0.2",
    )
    softmax_tau: float = option(1.0, "Temperature of the softmax.", above=0.0, since="0.2")

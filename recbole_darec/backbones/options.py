"""Options of the backbones; no torch here, so that the command line can read them."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_darec.options import option

__all__ = ["GraphOptions"]


@dataclass(frozen=True)
class GraphOptions:
    """Choices of a backbone that propagates over the user-item graph."""

    layer_aggregation: str = option(
        "sum",
        "How the layers are joined: sum (RLMRec, DaRec) or mean (RecBole, LightGCN paper).",
        choices=("mean", "sum"),
    )
    edge_keep_rate: float = option(
        1.0,
        "Share of the graph's directed edges kept in a training step, not rescaled.",
        above=0.0,
        high=1.0,
    )
    reg_form: str = option(
        "batch",
        "What reg_weight multiplies: RecBole's norms of the batch's embeddings, or the squared "
        "norms of all the embedding tables, as RLMRec has it.",
        choices=("batch", "full"),
    )

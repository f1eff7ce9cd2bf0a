"""Which class joins a backbone and an aligner."""

from __future__ import annotations

from recbole.model.abstract_recommender import SequentialRecommender

from recbole_darec.aligned.recommender import AlignedRecommender, DaRecMixin
from recbole_darec.aligned.sequential import AlignedSequential
from recbole_darec.alignment.registry import aligner_class

__all__ = ["aligned_class"]


def aligned_class(backbone: type, method: str) -> type:
    """Return the class that joins ``backbone`` and the aligner called ``method``.

    ``aligned_class(LightGCN, "darec")`` is ``class DaRecLightGCN(DaRecMixin, LightGCN)``.
    """
    if issubclass(backbone, AlignedRecommender):
        return backbone
    sequential = issubclass(backbone, SequentialRecommender)
    if method == "darec" and not sequential:
        return type(f"DaRec{backbone.__name__}", (DaRecMixin, backbone), {})
    mixin = AlignedSequential if sequential else AlignedRecommender
    prefix = "" if method == "none" else aligner_class(method).__name__
    return type(f"{prefix}{backbone.__name__}", (mixin, backbone), {"align_method": method})

"""Which class joins a backbone and an aligner."""

from __future__ import annotations

from recbole.model.abstract_recommender import SequentialRecommender

from recbole_darec.aligned.experts import ExpertRecommender
from recbole_darec.aligned.recommender import AlignedRecommender, DaRecMixin
from recbole_darec.aligned.sequential import AlignedSequential
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.errors import OptionError

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
    mixin: type = AlignedSequential if sequential else AlignedRecommender
    prefix = "" if method == "none" else aligner_class(method).__name__
    if aligner_class(method).has_experts():
        if not sequential:
            raise OptionError(
                f"--align={method} ranks by experts that read sequences, and the model "
                f"'{backbone.__name__}' reads none: take SASRec, GRU4Rec or Caser"
            )
        mixin = ExpertRecommender
    return type(f"{prefix}{backbone.__name__}", (mixin, backbone), {"align_method": method})

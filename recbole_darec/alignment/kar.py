"""KAR: profiles through a mixture of experts, joined to the embeddings that rank.

Xi et al., "Towards Open-World Recommendation with Knowledge Augmentation from Large Language
Models" (RecSys 2024), section 3.3, the hybrid-expert adaptor, as RLMRec and DaRec use it beside
collaborative filtering: the adapted profile is one more feature of a row, whatever its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.contract import Aligner, TrainedRows, Widths
from recbole_darec.settings.options import Options, option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KAR", "KAROptions"]


class KAROptions(Options):
    """Options of KAR."""

    kar_shared_experts: int = option(2, "Experts that all kinds (users, items) share.", low=1)
    kar_own_experts: int = option(
        2, "Experts of each kind alone: of the users' preferences, of the items' facts.", low=0
    )
    kar_hidden: list[int] | None = option(
        None,
        "Hidden widths of an expert; [] is linear, null one hidden layer as wide as the "
        "backbone's rows.",
        low=1,
    )
    kar_fusion: str = option(
        "add",
        "How the adapted profile joins the embedding: added to it, or concatenated, which doubles "
        "the width that ranks.",
        choices=("add", "concat"),
    )


class KAR(Aligner):
    """The experts' outputs, weighted by a gate of each kind, in training and in prediction."""

    Options: ClassVar[type] = KAROptions
    replayable = True

    def __init__(self, options: KAROptions, widths: Widths) -> None:
        super().__init__(options, widths)
        from torch import nn

        from recbole_darec.alignment.experts import ExpertMixture

        self.options: KAROptions = options
        hidden = [widths.backbone] if options.kar_hidden is None else options.kar_hidden
        self.modules: nn.Module = ExpertMixture(
            widths.profile,
            hidden,
            widths.backbone,
            n_shared=options.kar_shared_experts,
            n_own=options.kar_own_experts,
            kinds=widths.kinds,
        )

    def alter_final(self, final: Tensor, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return ``e + m(p)``, or ``[e, m(p)]``, for each row's profile ``p``."""
        import torch

        adapted = torch.cat(
            [self.modules(profiles[rows].to(final.dtype), kind) for kind, rows in kinds.items()]
        )
        if self.options.kar_fusion == "add":
            return final + adapted
        return torch.cat([final, adapted], dim=1)

    def rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor:
        """Return ``e + m(p)``, or ``[e, m(p)]``, with the profile neighbours' mean for ``e``."""
        import torch

        dtype = trained.rows.dtype
        adapted: Tensor = self.modules(profiles.to(dtype), trained.kind)
        if self.options.kar_fusion == "add":
            of_trained = self.modules(trained.profiles.to(dtype), trained.kind)
            alone = replace(trained, rows=trained.rows - of_trained)
            return alone.mean_of_nearest(profiles, trained.profiles) + adapted
        width = trained.rows.shape[1] - adapted.shape[1]
        mean = trained.mean_of_nearest(profiles, trained.profiles)[:, :width]
        return torch.cat([mean, adapted], dim=1)

"""RLMRec-Gen: profiles reconstructed from embeddings whose own ids were masked.

Ren et al., "Representation Learning with Large Language Models for Recommendation" (WWW 2024),
equations (17) and (18) and algorithm 2, with the normalisations of the released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.contract import Aligner, TrainedRows, TrainingStep, Widths
from recbole_darec.settings.options import Options, option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RLMRecGen", "RLMRecGenOptions"]


class RLMRecGenOptions(Options):
    """Options of RLMRec-Gen."""

    mask_ratio: float = option(
        0.1,
        "Share of all rows (users and items) whose ego embeddings are masked per step.",
        above=0.0,
        below=1.0,
    )
    kd_weight: float = option(0.1, "Weight of the alignment loss.", low=0.0)
    kd_temperature: float = option(0.2, "Temperature of the alignment's InfoNCE.", above=0.0)


class RLMRecGen(Aligner):
    """A mask token in the place of some ego embeddings, and InfoNCE of what is rebuilt there.

    One token for rows of every kind, and one MLP, d -> (width + d) / 2 -> width.
    """

    Options: ClassVar[type] = RLMRecGenOptions
    replayable = True

    def __init__(self, options: RLMRecGenOptions, widths: Widths) -> None:
        super().__init__(options, widths)
        import torch
        from torch import nn

        from recbole_darec.alignment.projection import mlp

        self.options: RLMRecGenOptions = options
        hidden = (widths.profile + widths.backbone) // 2
        token = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, widths.ego)))
        self.modules = nn.ModuleDict(
            {
                "token": nn.ParameterList([token]),
                "decoder": mlp(widths.backbone, [hidden], widths.profile),
            }
        )
        self._masked: Tensor | None = None

    def alter_ego(self, ego: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return the ego embeddings with the token in the rows that this step masks."""
        import torch

        size = max(1, int(len(ego) * self.options.mask_ratio))
        self._masked = torch.randperm(len(ego), device=ego.device)[:size]
        (token,) = self.modules["token"]
        return ego.index_copy(0, self._masked, token.to(ego.dtype).expand(size, -1))

    def rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor:
        """Return means of the rows whose rebuilt profiles are nearest to the true ones given."""
        rebuilt = self.modules["decoder"](trained.rows)
        return trained.mean_of_nearest(profiles, rebuilt)

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return ``kd``: the contrast of rebuilt and true profiles among the masked rows."""
        from recbole_darec.numerics import info_nce

        opt = self.options
        if opt.kd_weight == 0.0:
            return {}
        assert self._masked is not None, "alter_ego masks before the step's losses"
        masked, self._masked = self._masked, None
        rebuilt = self.modules["decoder"](step.collaborative[masked])
        wanted = step.profiles[masked].to(rebuilt.dtype)
        contrast = info_nce(rebuilt, wanted, wanted, opt.kd_temperature)
        return {"kd": opt.kd_weight * contrast / len(masked)}

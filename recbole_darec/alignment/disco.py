"""DisCo: ids and texts, each in an own and a common chunk, and the four fused into one row.

Du et al., "DisCo: Towards Harmonious Disentanglement and Collaboration between Tabular and
Semantic Space for Recommendation" (KDD 2024), as PAD compares it: V = F of the four chunks M1(E1),
M2(E2), P1(T) and P2(T).  PAD does not write its two losses down, and what stands here is our
reading of their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.contract import ExpertStep
from recbole_darec.alignment.expert_aligner import PRETRAIN, ExpertAligner, StartOptions
from recbole_darec.alignment.phases import Expert, Phase
from recbole_darec.settings.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["DisCo", "DisCoOptions"]

_LOSSES = ("sufficiency", "disentangle")


class DisCoOptions(StartOptions):
    """Options of DisCo."""

    disco_sufficiency: float = option(
        0.1, "Weight of the mean ranking loss of the four chunks, each by itself.", low=0.0
    )
    disco_disentangle: float = option(
        0.1, "Weight of the squared correlation of a side's own chunk with its common one.", low=0.0
    )


class DisCo(ExpertAligner):
    """One expert of four chunks: E in two halves, and two projections of the texts."""

    Options: ClassVar[type] = DisCoOptions
    options: DisCoOptions

    @classmethod
    def experts(cls, options: DisCoOptions) -> tuple[Expert, ...]:
        """Return the fused expert, behind the backbone by itself where it starts from that."""
        fused = (Expert("fused"),)
        return fused if options.expert_init == "scratch" else (Expert("id"), *fused)

    @classmethod
    def phases(cls, options: DisCoOptions) -> tuple[Phase, ...]:
        """Return one phase, or two where it starts from the backbone by itself."""
        trained = ("fused", "split_own", "split_common", "project_own", "project_common", "fuse")
        if options.expert_init == "scratch":
            return (Phase("train", ("fused",), trained, losses=_LOSSES),)
        last = Phase("train", ("fused",), trained, copies=(("id", "fused"),), losses=_LOSSES)
        return PRETRAIN, last

    def __init__(self, options: Any, widths: Any) -> None:
        super().__init__(options, widths)
        self._chunks: list[Tensor] = []

    def make_modules(self) -> dict[str, nn.Module]:
        """Return M1 and M2, P1 and P2, and F."""
        return {
            "split_own": self.linear(self._halves[0]),
            "split_common": self.linear(self._halves[1]),
            "project_own": self.projection(),
            "project_common": self.projection(),
            "fuse": self.fusion(4),
        }

    @property
    def _halves(self) -> tuple[int, int]:
        width = self.widths.backbone
        return width - width // 2, width // 2

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return F of the four chunks, or E of the backbone by itself."""
        import torch

        assert table is not None
        if expert == "id":
            return table
        own, common = torch.split(table, list(self._halves), 1)
        made = self.modules
        # The losses of the same step are of these very rows.
        self._chunks = [
            made["split_own"](own),
            made["split_common"](common),
            made["project_own"](profiles),
            made["project_common"](profiles),
        ]
        rows: Tensor = made["fuse"](torch.cat(self._chunks, 1))
        return rows

    def expert_losses(self, step: ExpertStep) -> dict[str, Tensor]:
        """Return ``sufficiency`` and ``disentangle``, each where it has a weight."""
        if not step.wanted:
            return {}
        from recbole_darec.alignment.equations import decorrelation

        chunks, self._chunks = self._chunks, []
        opt = self.options
        found: dict[str, Tensor] = {}
        if opt.disco_sufficiency:
            alone = [step.ranked("fused", chunk) for chunk in chunks]
            found["sufficiency"] = opt.disco_sufficiency * sum(alone[1:], alone[0]) / len(alone)
        if opt.disco_disentangle:
            own = [chunk[step.seen] for chunk in chunks]
            sides = decorrelation(*own[:2]) + decorrelation(*own[2:])
            found["disentangle"] = opt.disco_disentangle * sides
        return found

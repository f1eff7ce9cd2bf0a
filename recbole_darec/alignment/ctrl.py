"""CTRL: the item table is drawn to the texts by a contrast, then trained to rank without them.

Li et al., "CTRL: Connect Collaborative and Language Model for CTR Prediction" (2023), as PAD
compares it: V = E, and P(T) in training only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.contract import ExpertStep
from recbole_darec.alignment.expert_aligner import PRETRAIN, ExpertAligner, StartOptions
from recbole_darec.alignment.phases import Expert, Phase
from recbole_darec.settings.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CTRL", "CTRLOptions"]


class CTRLOptions(StartOptions):
    """Options of CTRL."""

    ctrl_temperature: float = option(0.1, "Temperature of the contrast.", low=0.02)


class CTRL(ExpertAligner):
    """A phase of the contrast alone, and one of the ranking loss alone."""

    Options: ClassVar[type] = CTRLOptions

    @classmethod
    def experts(cls, options: CTRLOptions) -> tuple[Expert, ...]:
        """Return the one expert, the backbone by itself."""
        return (Expert("id"),)

    @classmethod
    def phases(cls, options: CTRLOptions) -> tuple[Phase, ...]:
        """Return contrast and ranking, behind the backbone's own phase where it is wanted."""
        contrast = Phase("contrast", trained=("id", "project"), losses=("contrast",), ranks=False)
        own = contrast, Phase("train", trained=("id",), losses=())
        return own if options.expert_init == "scratch" else (PRETRAIN, *own)

    def make_modules(self) -> dict[str, nn.Module]:
        """Return P."""
        return {"project": self.projection()}

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return E."""
        assert table is not None
        return table

    def expert_losses(self, step: ExpertStep) -> dict[str, Tensor]:
        """Return ``contrast``: InfoNCE of E and P(T) over the step's items, from both sides."""
        if not step.wanted or "contrast" not in step.wanted:
            return {}
        from recbole_darec.alignment.equations import info_nce

        seen = step.seen
        ids, texts = step.tables["id"][seen], self.modules["project"](step.profiles[seen])
        temperature = self.options.ctrl_temperature
        both = info_nce(ids, texts, temperature) + info_nce(texts, ids, temperature)
        return {"contrast": 0.5 * both}

    def sides(
        self, tables: Mapping[str, Tensor], profiles: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return P(T) and E."""
        return {"id": (self.modules["project"](profiles), tables["id"])}

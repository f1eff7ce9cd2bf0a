"""MoRec: items are their texts alone, V = P(T).

Yuan et al., "Where to Go Next for Recommender Systems? ID- vs. Modality-based Recommender Models
Revisited" (SIGIR 2023), over frozen texts, as PAD compares it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.expert_aligner import PRETRAIN, ExpertAligner, StartOptions
from recbole_darec.alignment.phases import Expert, Phase

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MoRec"]


class MoRec(ExpertAligner):
    """One expert without a table; ``pretrained`` gives it the backbone's encoder."""

    Options: ClassVar[type] = StartOptions

    @classmethod
    def experts(cls, options: StartOptions) -> tuple[Expert, ...]:
        """Return the texts' expert, behind the backbone by itself where it starts from that."""
        text = (Expert("text", has_table=False),)
        return text if options.expert_init == "scratch" else (Expert("id"), *text)

    @classmethod
    def phases(cls, options: StartOptions) -> tuple[Phase, ...]:
        """Return one phase, or two where it starts from the backbone by itself."""
        trained = ("text", "project")
        if options.expert_init == "scratch":
            return (Phase("train", experts=("text",), trained=trained),)
        return PRETRAIN, Phase("train", ("text",), trained, copies=(("id", "text"),))

    def make_modules(self) -> dict[str, nn.Module]:
        """Return P."""
        return {"project": self.projection()}

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return P(T), or E of the backbone by itself."""
        if expert == "id":
            assert table is not None
            return table
        rows: Tensor = self.modules["project"](profiles)
        return rows

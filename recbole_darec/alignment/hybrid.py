"""Hybrid: the item table and the texts fused into one row, V = F[E ; P(T)].

The first of the baselines of PAD (SIGIR 2025, section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.expert_aligner import PRETRAIN, ExpertAligner, StartOptions
from recbole_darec.alignment.phases import Expert, Phase

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Hybrid"]


class Hybrid(ExpertAligner):
    """One expert, trained by the ranking loss alone."""

    Options: ClassVar[type] = StartOptions

    @classmethod
    def experts(cls, options: StartOptions) -> tuple[Expert, ...]:
        """Return the fused expert, behind the backbone by itself where it starts from that."""
        fused = (Expert("fused"),)
        return fused if options.expert_init == "scratch" else (Expert("id"), *fused)

    @classmethod
    def phases(cls, options: StartOptions) -> tuple[Phase, ...]:
        """Return one phase, or two where it starts from the backbone by itself."""
        trained = ("fused", "project", "fuse")
        last = Phase("train", experts=("fused",), trained=trained)
        if options.expert_init == "scratch":
            return (last,)
        copied = Phase("train", ("fused",), trained, copies=(("id", "fused"),))
        return PRETRAIN, copied

    def make_modules(self) -> dict[str, nn.Module]:
        """Return P and F."""
        return {"project": self.projection(), "fuse": self.fusion()}

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return F[E ; P(T)], or E of the backbone by itself."""
        import torch

        assert table is not None
        if expert == "id":
            return table
        rows: Tensor = self.modules["fuse"](
            torch.cat([table, self.modules["project"](profiles)], 1)
        )
        return rows

    def sides(
        self, tables: Mapping[str, Tensor], profiles: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return P(T) and E."""
        return {"fused": (self.modules["project"](profiles), tables["fused"])}

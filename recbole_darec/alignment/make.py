"""MAKE: an expert of ids and one of texts, the latter trained first, with a gate by bucket.

A baseline of PAD (SIGIR 2025, section 4.1), in the terms of that paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.expert_aligner import (
    PRETRAIN,
    ExpertAligner,
    GateOptions,
    StartOptions,
)
from recbole_darec.alignment.phases import Expert, Phase

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MAKE", "MAKEOptions"]


class MAKEOptions(StartOptions, GateOptions):
    """Options of MAKE."""


class MAKE(ExpertAligner):
    """The texts' expert by itself, then both."""

    Options: ClassVar[type] = MAKEOptions

    @classmethod
    def experts(cls, options: MAKEOptions) -> tuple[Expert, ...]:
        """Return the expert of ids and that of texts."""
        return Expert("id"), Expert("llm", has_table=False)

    @classmethod
    def phases(cls, options: MAKEOptions) -> tuple[Phase, ...]:
        """Return the texts' phase and that of both, behind the backbone's where it is wanted."""
        own = Phase("text", experts=("llm",), trained=("llm", "project")), Phase("both")
        return own if options.expert_init == "scratch" else (PRETRAIN, *own)

    def make_modules(self) -> dict[str, nn.Module]:
        """Return P and the gate."""
        starts = {"id": (1.0, 0.0), "llm": (0.0, 1.0)}
        return {"project": self.projection(), **self.gate_modules(starts)}

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return E, or P(T)."""
        if expert == "id":
            assert table is not None
            return table
        rows: Tensor = self.modules["project"](profiles)
        return rows

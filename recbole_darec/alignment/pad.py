"""PAD: pre-train ids, align them with the texts, and tune three experts behind a gate.

Wang et al., "Pre-train, Align, and Disentangle: Empowering Sequential Recommendation with Large
Language Models" (SIGIR 2025), equations (1) to (12).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.contract import ExpertStep
from recbole_darec.alignment.expert_aligner import (
    PRETRAIN,
    ExpertAligner,
    ExpertOptions,
    GateOptions,
)
from recbole_darec.alignment.phases import Expert, Phase
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recbole_darec.alignment.contract import Widths

__all__ = ["PAD", "PADOptions", "ThreeExperts", "ThreeExpertsOptions"]

_EXPERTS = ("id", "align", "llm")


class ThreeExpertsOptions(ExpertOptions, GateOptions):
    """The experts that PAD and SMEM have."""

    pad_experts: list[str] = option(
        list(_EXPERTS), "Experts of the last phase: of ids, aligned, of texts.", choices=_EXPERTS
    )
    gate_align_start: float = option(
        -4.0,
        "Logit at which the gate starts for the aligned expert in the warmest bucket, one less in "
        "the coldest; at -4 it has 1 %.",
    )

    def check_together(self) -> None:
        """Refuse a last phase without an expert."""
        if not self.pad_experts:
            raise OptionError(
                f"pad_experts=[]: every expert is left out; name one of {', '.join(_EXPERTS)}"
            )


class PADOptions(ThreeExpertsOptions):
    """Options of PAD."""

    pad_gamma: float = option(
        0.2, "Weight gamma of the discrepancy in the second phase, equation (4).", low=0.0
    )
    pad_kernel: str = option(
        "gaussian",
        "Kernel of the discrepancy: five Gaussians, Laplace, linear or cosine; infonce has the "
        "contrast of equation (16) in its place, which the paper gives the weight 0.01.",
        choices=("gaussian", "laplace", "linear", "cosine", "infonce"),
    )
    pad_rows: int = option(
        512,
        "Distinct items of a step, at most, that the discrepancy is taken of at a time; more are "
        "dealt out to groups of one size, whose mean it is. 0: always all.",
        low=0,
    )
    pad_temperature: float = option(0.1, "Temperature of that contrast.", low=0.02)
    pad_anchor: str = option(
        "with",
        "The second phase: with the ranking loss beside the discrepancy (with), by the discrepancy "
        "alone (without), with both while the item table stays as it is (frozen), or left out "
        "(none).",
        choices=("with", "without", "frozen", "none"),
    )

    def check_together(self) -> None:
        """Refuse a second phase without a loss, too."""
        super().check_together()
        if self.pad_anchor == "without" and not self.pad_gamma:
            raise OptionError(
                "pad_anchor=without with pad_gamma=0 leaves the second phase nothing to train: "
                "raise pad_gamma, or set pad_anchor=none"
            )


class ThreeExperts(ExpertAligner):
    """V of ids: E; aligned: F[E_a ; P_a(T)]; of texts: P_l(T)."""

    options: ThreeExpertsOptions

    @classmethod
    def experts(cls, options: ThreeExpertsOptions) -> tuple[Expert, ...]:
        """Return all three: one that is left out of the last phase may be needed before it."""
        return Expert("id"), Expert("align"), Expert("llm", has_table=False)

    @classmethod
    def last_phase(
        cls, options: ThreeExpertsOptions, copies: tuple[tuple[str, str], ...] = ()
    ) -> Phase:
        """Return the phase that trains all experts of the run, equation (6)."""
        chosen = tuple(name for name in _EXPERTS if name in options.pad_experts)
        parts = {"id": (), "align": ("project_align", "fuse"), "llm": ("project_llm",)}
        trained = (*chosen, *(part for name in chosen for part in parts[name]), "gate")
        return Phase("tune", chosen, trained, copies, losses=())

    def __init__(self, options: ThreeExpertsOptions, widths: Widths) -> None:
        super().__init__(options, widths)
        self._projected: Tensor | None = None

    def make_modules(self) -> dict[str, nn.Module]:
        """Return P of both experts with texts, F, and the gate."""
        align = self.options.gate_align_start
        starts = {"id": (1.0, 0.0), "align": (align, align - 1.0), "llm": (0.0, 1.0)}
        return {
            "project_align": self.projection(),
            "fuse": self.fusion(),
            "project_llm": self.projection(),
            **self.gate_modules(starts),
        }

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return the expert's V."""
        import torch

        if expert == "llm":
            rows: Tensor = self.modules["project_llm"](profiles)
            return rows
        assert table is not None
        if expert == "id":
            return table
        # The losses of the same step are of these very rows.
        self._projected = self.modules["project_align"](profiles)
        rows = self.modules["fuse"](torch.cat([table, self._projected], 1))
        return rows

    def sides(
        self, tables: Mapping[str, Tensor], profiles: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return P_a(T) and E_a."""
        return {"align": (self.modules["project_align"](profiles), tables["align"])}


class PAD(ThreeExperts):
    """Three phases: of ids alone, of the alignment, of all experts."""

    Options: ClassVar[type] = PADOptions
    options: PADOptions

    @classmethod
    def phases(cls, options: PADOptions) -> tuple[Phase, ...]:
        """Return phases 1, 2 and 3; without an alignment, or an expert that it trains, 1 and 3."""
        copies = (("id", "align"),)
        if options.pad_anchor == "none" or "align" not in options.pad_experts:
            return PRETRAIN, cls.last_phase(options, copies)
        align = Phase(
            "align",
            experts=("align",),
            trained=("align", "project_align", "fuse"),
            copies=copies,
            losses=("mmd",),
            ranks=options.pad_anchor != "without",
            freezes_tables=options.pad_anchor == "frozen",
        )
        return PRETRAIN, align, cls.last_phase(options)

    def expert_losses(self, step: ExpertStep) -> dict[str, Tensor]:
        """Return ``mmd``: gamma times equation (5), of the step's rows P_a(T) and E_a.

        Or gamma times equation (16) of them.
        """
        if not step.wanted or "mmd" not in step.wanted:
            return {}
        from recbole_darec.alignment.equations import info_nce, mean_discrepancy

        assert self._projected is not None
        projected, self._projected = self._projected, None
        opt, seen = self.options, step.seen
        texts, ids = projected[seen], step.tables["align"][seen]
        if opt.pad_kernel == "infonce":
            found = info_nce(texts, ids, opt.pad_temperature)
        else:
            counts = step.counts[seen]
            found = mean_discrepancy(texts, ids, counts, opt.pad_kernel, opt.pad_rows)
        return {"mmd": opt.pad_gamma * found}

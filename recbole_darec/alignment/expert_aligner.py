"""The base of the methods whose experts are made of item texts, and their common options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recbole_darec.alignment.contract import Aligner, Widths
from recbole_darec.alignment.phases import Phase, PhaseOptions
from recbole_darec.settings.options import Options, option

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PRETRAIN", "ExpertAligner", "ExpertOptions", "GateOptions", "StartOptions"]

# Phase 1 of PAD: the backbone by itself, its item table the only rows.
PRETRAIN = Phase("pretrain", experts=("id",), trained=("id",), plain=True)


class ExpertOptions(PhaseOptions):
    """The widths and the dropout of what is made of the texts."""

    expert_layers: int = option(
        4, "Hidden layers of the projection P of the texts, behind its first.", low=0
    )
    expert_dropout: float = option(0.1, "Dropout in P and in the fusion F.", low=0.0, below=1.0)
    pretrained: str | None = option(
        None,
        "File that the first phase, which trains the backbone alone, is taken from: a "
        ".pretrain.pth of another run, or the model of one with --align=none.",
    )


class StartOptions(ExpertOptions):
    """What a baseline of one expert starts from."""

    expert_init: str = option(
        "scratch",
        "Where the item table and the encoder start: at random, or from a phase that trains the "
        "backbone alone, as PAD does (pretrained).",
        choices=("scratch", "pretrained"),
    )


class GateOptions(Options):
    """The gate between experts."""

    expert_gate: str = option(
        "bucket",
        "Weights of the experts: by the item's bucket (bucket), by its bucket and its rows "
        "(network), learned and the same for all items (shared), or all alike (none).",
        choices=("bucket", "network", "shared", "none"),
    )
    gate_buckets: int = option(
        10, "Buckets of items of the same total training count, for the gate.", low=1
    )


class ExpertAligner(Aligner):
    """Submodules by name, and the gate among them where there is one."""

    undecayed = ("gate",)

    def __init__(self, options: Any, widths: Widths) -> None:
        super().__init__(options, widths)
        from torch import nn

        self.widths = widths
        self.modules: nn.ModuleDict = nn.ModuleDict(self.make_modules())

    def make_modules(self) -> dict[str, nn.Module]:
        """Return the submodules by the names that phases call them."""
        raise NotImplementedError

    def projection(self) -> nn.Module:
        """Return a new P, from the profiles' width to the backbone's."""
        from recbole_darec.alignment.text_experts import projection

        opt = self.options
        width = self.widths
        return projection(width.profile, width.backbone, opt.expert_layers, opt.expert_dropout)

    def linear(self, width: int) -> nn.Module:
        """Return a new map from this width to the backbone's: linear, GELU."""
        from recbole_darec.alignment.text_experts import projection

        return projection(width, self.widths.backbone, 0, 0.0)

    def fusion(self, parts: int = 2) -> nn.Module:
        """Return a new F, from ``parts`` times the backbone's width to the backbone's."""
        from recbole_darec.alignment.text_experts import fusion

        return fusion(self.widths.backbone, self.options.expert_dropout, parts)

    def gate_modules(self, starts: Mapping[str, tuple[float, float]]) -> dict[str, nn.Module]:
        """Return the gate under its name, or nothing where the experts weigh alike.

        Args:
            starts: by expert, the logits of the warmest and of the coldest bucket.
        """
        from recbole_darec.alignment.text_experts import BucketGate

        opt = self.options
        if opt.expert_gate == "none":
            return {}
        if opt.expert_gate == "shared":
            middle = {name: (warm + cold) / 2.0 for name, (warm, cold) in starts.items()}
            return {"gate": BucketGate({name: (a, a) for name, a in middle.items()}, 1)}
        width = self.widths.backbone if opt.expert_gate == "network" else 0
        return {"gate": BucketGate(starts, opt.gate_buckets, width)}

    def count_items(self, counts: Tensor) -> None:
        """Put the items into the gate's buckets.

        Raises:
            OptionError: more buckets than items that were counted.
        """
        if "gate" in self.modules:
            self._gate().count(counts)

    def gate(self, items: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """Return the gate's weights ``[n, K]``, or equal ones where there is none."""
        if "gate" not in self.modules:
            return super().gate(items, rows)
        weights: Tensor = self.modules["gate"](items, rows)
        return weights

    def gate_by_bucket(self) -> dict[str, float]:
        """Return the experts' weights by name and bucket."""
        found: dict[str, float] = self._gate().by_bucket() if "gate" in self.modules else {}
        return found

    def _gate(self) -> Any:
        return self.modules["gate"]

"""Several experts over one sequential backbone, and what each phase trains and copies of them.

The first expert is the backbone itself; each other one is one more instance of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_darec.aligned.access import EmbeddingTables, find_tables
from recbole_darec.aligned.altered import AlteredBackbone
from recbole_darec.aligned.profile_rows import item_rows
from recbole_darec.aligned.sequential import AlignedSequential
from recbole_darec.alignment.contract import Aligner
from recbole_darec.alignment.phases import Phase, check_trained, planned
from recbole_darec.errors import OptionError

__all__ = ["PhasedRecommender"]


class PhasedRecommender(AlignedSequential):
    """Mixin over a RecBole sequential recommender, for an aligner that names experts."""

    phase_number: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        options = self.aligner.options
        self._experts = self.aligner.experts(options)
        self.phases = planned(self.aligner.phases(options), options)
        names = [expert.name for expert in self._experts]
        with torch.random.fork_rng(devices=[]):
            others = {name: _instance(type(self), config, dataset) for name in names[1:]}
        self.experts = nn.ModuleDict(others)
        self._tables_of: dict[str, EmbeddingTables] = {names[0]: self._tables()}
        for name, model in others.items():
            found = find_tables(model, self._sizes)
            assert found is not None
            self._tables_of[name] = found
        for expert in self._experts:
            if not expert.has_table:
                self._drop_table(expert.name)
        # Saved with the parameters: a model that is loaded ranks as it did in its phase.
        self.register_buffer("phase_number", torch.tensor(len(self.phases) - 1))
        for number, phase in enumerate(self.phases):
            self.enter_phase(number, copying=False)
            check_trained(phase, [n for n, p in self.named_parameters() if p.requires_grad])

    def _found_profiles(self, config: Any, dataset: Any, method: type[Aligner]) -> Any:
        return item_rows(config, dataset, self._kinds)

    def _start_from(self, profiles: Tensor) -> None:
        raise OptionError(
            f"init=text does not go with --align={self._method_name}, whose experts start from "
            "each other: leave it out"
        )

    # ---- phases ----------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """The phase that the model is in; the last one before a training enters another."""
        return self.phases[int(self.phase_number)]

    def enter_phase(self, number: int, *, copying: bool) -> None:
        """Enter a phase: what it copies and what it trains.

        Args:
            number: of the phase, from 0.
            copying: whether it begins now; one that goes on has its copies.
        """
        self.phase_number.fill_(number)
        phase = self.phase
        if copying:
            for source, target in phase.copies:
                self._copy(source, target, with_encoder=phase.copies_encoder)
        for name, parameter in self.named_parameters():
            owner = self._owner(name)
            parameter.requires_grad_(not phase.trained or owner in phase.trained)
        if phase.freezes_tables:
            for expert in self._experts:
                self._table(expert.name).requires_grad_(False)

    def trained_tables(self) -> list[Tensor]:
        """Return the item tables that the phase trains."""
        tables = [self._table(expert.name) for expert in self._experts if expert.has_table]
        return [table for table in tables if table.requires_grad]

    def optimised(self) -> list[dict[str, Any]]:
        """Return what the phase trains as groups of an optimiser."""
        groups: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups[self._owner(name) not in self.aligner.undecayed].append(parameter)
        decayed = [{"params": groups[True]}] if groups[True] else []
        return decayed + ([{"params": groups[False], "weight_decay": 0.0}] if groups[False] else [])

    def _owner(self, parameter: str) -> str:
        """Return the expert, or the aligner's submodule, that a parameter belongs to."""
        first, _, rest = parameter.partition(".")
        if first in ("experts", "alignment"):
            return rest.partition(".")[0]
        return self._experts[0].name

    def _copy(self, source: str, target: str, *, with_encoder: bool) -> None:
        there = dict(self._expert_model(target).named_parameters())
        table = self._tables_of[source].names["item"] + ".weight"
        with torch.no_grad():
            for name, parameter in self._expert_model(source).named_parameters():
                if name.startswith(("experts.", "alignment.")) or name not in there:
                    continue
                if (with_encoder or name == table) and there[name].shape == parameter.shape:
                    there[name].copy_(parameter)

    # ---- experts ---------------------------------------------------------------------------

    def _expert_model(self, name: str) -> Any:
        return self if name == self._experts[0].name else self.experts[name]

    def _table(self, name: str) -> Tensor:
        return self._tables_of[name].weights(self._expert_model(name))["item"]

    def _drop_table(self, name: str) -> None:
        module = self._expert_model(name).get_submodule(self._tables_of[name].names["item"])
        module.weight = nn.Parameter(module.weight.new_empty(0, module.weight.shape[1]))


def _instance(cls: type, config: Any, dataset: Any) -> Any:
    backbone = next(c for c in cls.__mro__ if not issubclass(c, AlteredBackbone))
    made = type(
        f"Expert{backbone.__name__}", (AlignedSequential, backbone), {"align_method": "none"}
    )
    return made(config, dataset)

"""Experts over one sequential backbone: each reads and ranks by its own rows of the items.

The first expert is the backbone itself; each other one is one more instance of it.  A training step
works on its distinct items alone: they are numbered anew, and a table of their rows stands where
the backbone has that of all items.  Where scores of all items are wanted, the experts' tables, with
the gate's weights in them, are one of width K d, and one product ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_darec.aligned.access import EmbeddingTables, MadeOnce, find_tables
from recbole_darec.aligned.altered import AlteredBackbone
from recbole_darec.aligned.sequential import AlignedSequential
from recbole_darec.alignment.contract import ExpertStep
from recbole_darec.alignment.phases import Phase
from recbole_darec.numerics import RANK_LOSSES, folded
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import SequenceOptions

__all__ = ["ExpertRecommender"]


class ExpertRecommender(AlignedSequential):
    """Mixin over a RecBole sequential recommender, for an aligner that names experts."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        options = self.aligner.options
        self._experts = self.aligner.experts(options)
        self.phases = self.aligner.phases(options)
        self._rank_loss = options_from_config(SequenceOptions, config).rank_loss
        names = [expert.name for expert in self._experts]
        with torch.random.fork_rng(devices=[]):
            others = {name: _instance(type(self), config, dataset) for name in names[1:]}
        self.experts = nn.ModuleDict(others)
        self._folded_once = MadeOnce()
        self._tables_of: dict[str, EmbeddingTables] = {names[0]: self._tables()}
        for name, model in others.items():
            found = find_tables(model, self._sizes)
            assert found is not None
            self._tables_of[name] = found
        for expert in self._experts:
            if not expert.has_table:
                self._drop_table(expert.name)
        counts = torch.bincount(dataset.inter_feat[self.ITEM_ID], minlength=self.n_items)
        self.aligner.count_items(counts[1:])
        # Saved with the parameters: a model that is loaded ranks as it did in its phase.
        self.register_buffer("phase_number", torch.tensor(len(self.phases) - 1))

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

    # ---- one training step -----------------------------------------------------------------

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the aligner's terms of the phase, then the ranking loss of the mixed scores."""
        phase = self.phase
        everything = self._rank_loss == "ce"
        ids, counts, batch = self._numbered_anew(interaction, everything=everything)
        items = ids[1:] - 1
        profiles = self.profile_rows[items].to(torch.float32)
        tables, rows = self._rows(items, profiles, self._ranking_names())
        step = ExpertStep(items, counts[1:], tables, rows, profiles, phase.losses)
        parts = self.aligner.expert_losses(step)
        if phase.ranks:
            parts["base"] = self._ranking_part(batch, step)
        self.loss_names = tuple(parts)
        if self.diagnose_next:
            self.diagnose_next = False
            self.diagnostics = self.aligner.gate_by_bucket()
        return tuple(parts.values())

    def _ranking_part(self, batch: Any, step: ExpertStep) -> Tensor:
        weights = self._weights(step.items, step.rows)
        encoded = [self._encoded(name, rows, batch) for name, rows in step.rows.items()]
        users, items = torch.cat(encoded, 1), folded(list(step.rows.values()), weights)
        items = torch.cat([items.new_zeros(1, items.shape[1]), items])
        targets = batch[self.ITEM_ID]
        if self._rank_loss == "ce":
            return RANK_LOSSES["ce"](users @ items.t(), targets)
        positive = (users * items[targets]).sum(-1)
        negative = (users * items[batch[self.NEG_ITEM_ID]]).sum(-1)
        return RANK_LOSSES[self._rank_loss](positive, negative)

    def _ranking_names(self) -> list[str]:
        wanted = self.phase.experts
        return [e.name for e in self._experts if not wanted or e.name in wanted]

    def _weights(self, items: Tensor, rows: dict[str, Tensor] | Any) -> Tensor:
        if len(rows) == 1:
            (only,) = rows.values()
            return only.new_ones(len(items), 1)
        return self.aligner.gate(items, rows)

    def _rows(
        self, items: Tensor, profiles: Tensor, names: list[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the rows of the items in the experts' own tables, and what each ranks with."""
        tables: dict[str, Tensor] = {}
        rows = {}
        for expert in self._experts:
            if expert.name in names:
                if expert.has_table:
                    tables[expert.name] = self._table(expert.name)[items + 1]
                rows[expert.name] = self.aligner.expert_rows(
                    expert.name, tables.get(expert.name), profiles
                )
        return tables, rows

    def _numbered_anew(
        self, interaction: Any, *, everything: bool
    ) -> tuple[Tensor, Tensor, Interaction]:
        """Return the step's ids (0 first), their counts, and the batch in their numbers."""
        fields = dict(interaction.interaction)
        names = [n for n in (self.ITEM_SEQ, self.ITEM_ID, self.NEG_ITEM_ID) if n in fields]
        flat = torch.cat([fields[name].flatten() for name in names])
        if everything:
            ids = torch.arange(self.n_items, device=flat.device)
            return ids, torch.bincount(flat, minlength=self.n_items), interaction
        flat = torch.cat([flat.new_zeros(1), flat])
        ids, numbers, counts = torch.unique(flat, return_inverse=True, return_counts=True)
        sizes = [fields[name].numel() for name in names]
        for name, part in zip(names, numbers[1:].split(sizes)):
            fields[name] = part.view(fields[name].shape)
        return ids, counts, Interaction(fields)

    # ---- experts ---------------------------------------------------------------------------

    def _expert_model(self, name: str) -> Any:
        return self if name == self._experts[0].name else self.experts[name]

    def _table(self, name: str) -> Tensor:
        return self._tables_of[name].weights(self._expert_model(name))["item"]

    def _drop_table(self, name: str) -> None:
        module = self._expert_model(name).get_submodule(self._tables_of[name].names["item"])
        module.weight = nn.Parameter(module.weight.new_empty(0, module.weight.shape[1]))

    def _encoded(self, name: str, rows: Tensor, batch: Any) -> Tensor:
        with self._reading(name, rows) as model:
            encoded: Tensor = model.encode(batch)
        return encoded

    @contextlib.contextmanager
    def _reading(self, name: str, rows: Tensor) -> Iterator[Any]:
        model, tables = self._expert_model(name), self._tables_of[name]
        own = self._table(name)
        padding = own[:1] if len(own) else rows.new_zeros(1, rows.shape[1])
        with tables.swapped(model, {"item": torch.cat([padding, rows])}):
            yield model

    # ---- ranking ---------------------------------------------------------------------------

    def full_sort_predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the mixed scores of all items, ``[b * n_items]``, by one product."""
        users, items = self._users_and_items(interaction)
        return (users @ items.t()).view(-1)

    def predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the mixed scores of sequences and one item each, ``[batch]``."""
        users, items = self._users_and_items(interaction)
        return (users * items[interaction[self.ITEM_ID]]).sum(-1)

    def _users_and_items(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return sequences ``[b, K d]`` and all items ``[n_items, K d]`` whose products rank."""
        rows, items = self._all_rows()
        encoded = [self._encoded(name, table, interaction) for name, table in rows.items()]
        return torch.cat(encoded, 1), items

    def _all_rows(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return each expert's rows of all items, and the folded table under a padding row."""
        if self.training or torch.is_grad_enabled():
            self._folded_once.forget()
            made = self._made()
        else:
            sources = [*self.parameters(), *self.buffers()]
            made = self._folded_once.get(sources, self._made)
        names = self._ranking_names()
        return {name: made[name] for name in names}, made["all"]

    def final_tables(self, config: Any) -> dict[str, Tensor] | None:
        """Return what ranks the items, the experts' rows side by side, ``[n_items, K d]``."""
        return {"item": self._all_rows()[1]}

    def _made(self) -> dict[str, Tensor]:
        items = torch.arange(self.n_items - 1, device=self.profile_rows.device)
        profiles = self.profile_rows.to(torch.float32)
        _, rows = self._rows(items, profiles, self._ranking_names())
        table = folded(list(rows.values()), self._weights(items, rows))
        return {**rows, "all": torch.cat([table.new_zeros(1, table.shape[1]), table])}


def _instance(cls: type, config: Any, dataset: Any) -> Any:
    backbone = next(c for c in cls.__mro__ if not issubclass(c, AlteredBackbone))
    made = type(
        f"Expert{backbone.__name__}", (AlignedSequential, backbone), {"align_method": "none"}
    )
    return made(config, dataset)

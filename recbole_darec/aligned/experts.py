"""Experts over one sequential backbone: each reads and ranks by its own rows of the items.

A training step works on its distinct items alone: they are numbered anew, and a table of their rows
stands where the backbone has that of all items.  Where scores of all items are wanted, the experts'
tables, with the gate's weights in them, are one of width K d, and one product ranks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.aligned.access import MadeOnce, undisturbed
from recbole_darec.aligned.expert_diagnostics import ExpertDiagnostics
from recbole_darec.aligned.phased import PhasedRecommender
from recbole_darec.alignment.contract import ExpertStep
from recbole_darec.numerics import RANK_LOSSES, folded, softmax_loss_of_rows
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions, SequenceOptions

__all__ = ["ExpertRecommender"]

# Items whose rows are made at a time for the folded table.
_BLOCK_ITEMS = 16_384


@dataclass(frozen=True)
class _Made:
    """What experts make of some items.

    Attributes:
        items: their numbers, from 0, int64 ``[u]``.
        texts: their profile embeddings, ``[u, width]``.
        paddings: the padding's row of each expert's own table, ``[1, d]``.
        tables: the items' rows of it, ``[u, d]``.
        rows: what each expert reads and ranks with, ``[u, d]``.
    """

    items: Tensor
    texts: Tensor
    paddings: Mapping[str, Tensor]
    tables: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]


class ExpertRecommender(PhasedRecommender):
    """Mixin over a RecBole sequential recommender, for an aligner that names experts.

    Attributes:
        sparse_gradients: whether a step's gradient of a table has the rows of its own items alone;
            set where the optimiser can do with that.
    """

    sparse_gradients = False

    def __init__(self, config: Any, dataset: Any) -> None:
        self._folded_once = MadeOnce()
        super().__init__(config, dataset)
        options = self.aligner.options
        self._rank_loss = options_from_config(SequenceOptions, config).rank_loss
        counts = torch.bincount(dataset.inter_feat[self.ITEM_ID], minlength=self.n_items)
        self.aligner.count_items(counts[1:])
        diagnoses = options_from_config(RunOptions, config).diagnostics
        self._watch = ExpertDiagnostics.of(config, dataset, options) if diagnoses else None

    def enter_phase(self, number: int, *, copying: bool) -> None:
        """Enter a phase, and forget what ranked in the one before."""
        self._folded_once.forget()
        super().enter_phase(number, copying=copying)

    # ---- one training step -----------------------------------------------------------------

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the aligner's terms of the phase, then the ranking loss of the mixed scores."""
        phase = self.phase
        self._folded_once.forget()  # stale after this step, and wide
        ids, counts, batch = self._numbered_anew(interaction, everything=self._rank_loss == "ce")
        made = self._made(ids, self._ranking_names())

        def ranked(name: str, rows: Tensor) -> Tensor:
            return self._ranking_loss(batch, made, {name: rows})

        step = ExpertStep(
            made.items, counts[1:], made.tables, made.rows, made.texts, phase.losses, ranked
        )
        parts = self.aligner.expert_losses(step)
        if phase.ranks:
            parts["base"] = self._ranking_loss(batch, made, made.rows)
        self.loss_names = tuple(parts)
        if self.diagnose_next:
            self.diagnose_next = False
            self._diagnose_experts()
        return tuple(parts.values())

    def _ranking_loss(self, batch: Any, made: _Made, rows: Mapping[str, Tensor]) -> Tensor:
        """Return this process's part of the ranking loss, a scalar; all of it where it is alone."""
        found: Tensor = self.loss_of_rows(lambda part: self._loss_over(part, made, rows), batch)
        return found

    def _loss_over(self, batch: Any, made: _Made, rows: Mapping[str, Tensor]) -> Tensor:
        users = self._encoded(batch, made.paddings, rows)
        table = folded(list(rows.values()), self._weights(made.items, rows))
        table = torch.cat([table.new_zeros(1, table.shape[1]), table])
        targets = batch[self.ITEM_ID]
        if self._rank_loss == "ce":
            return softmax_loss_of_rows(users, table, targets)
        positive = (users * table[targets]).sum(-1)
        negative = (users * table[batch[self.NEG_ITEM_ID]]).sum(-1)
        return RANK_LOSSES[self._rank_loss](positive, negative)

    def _ranking_names(self) -> list[str]:
        wanted = self.phase.experts
        return [e.name for e in self._experts if not wanted or e.name in wanted]

    def _weights(self, items: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        if len(rows) == 1:
            (only,) = rows.values()
            return only.new_ones(len(items), 1)
        return self.aligner.gate(items, rows)

    def _made(self, ids: Tensor, names: Collection[str]) -> _Made:
        """Return what the experts of these names make of some items.

        Args:
            ids: distinct, int64 ``[1 + u]``, the padding's first.
            names: of the experts.
        """
        items = ids[1:] - 1
        texts = self._texts(items)
        paddings, tables, rows = {}, {}, {}
        for expert in self._experts:
            if expert.name in names:
                if expert.has_table:
                    # Taken at once: the gradient of each take is as large as the table.
                    taken = self._taken(self._table(expert.name), ids)
                    paddings[expert.name], tables[expert.name] = taken[:1], taken[1:]
                rows[expert.name] = self.aligner.expert_rows(
                    expert.name, tables.get(expert.name), texts
                )
        return _Made(items, texts, paddings, tables, rows)

    def _taken(self, table: Tensor, ids: Tensor) -> Tensor:
        if self.sparse_gradients:
            return torch.nn.functional.embedding(ids, table, sparse=True)
        return table[ids]

    def _texts(self, items: Tensor) -> Tensor:
        """Return the items' profile embeddings, float32 ``[u, width]``."""
        return self.profile_rows[items].to(self.device, torch.float32)

    def _encoded(
        self, batch: Any, paddings: Mapping[str, Tensor], rows: Mapping[str, Tensor]
    ) -> Tensor:
        """Return what the encoders of ``rows`` make of a batch, side by side, ``[m, K d]``."""
        encoded = []
        for name, own in rows.items():
            model = self._expert_model(name)
            padding = paddings[name] if name in paddings else own.new_zeros(1, own.shape[1])
            with self._tables_of[name].swapped(model, {"item": torch.cat([padding, own])}):
                encoded.append(model.encode(batch))
        return torch.cat(encoded, 1)

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

    # ---- diagnostics -----------------------------------------------------------------------

    def remember_ids(self, state: Mapping[str, Tensor]) -> None:
        """Take the first expert's table out of a saved state for what ``--diagnostics`` compares.

        Nothing is done where no phase trains that expert alone before the others.
        """
        name = self._experts[0].name
        if self._watch is not None and self.phases[0].experts == (name,):
            table = state[self._tables_of[name].names["item"] + ".weight"]
            self._watch.remember(lambda items: table[items.to(table.device) + 1])

    def _diagnose_experts(self) -> None:
        self.diagnostics = self.aligner.gate_by_bucket()
        if self._watch is None:
            return
        with undisturbed(self):
            self.diagnostics.update(self._watch.measure(self._of_items, self.aligner.sides))

    def _of_items(self, items: Tensor) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Return the items' texts, and of every expert their rows in its table and its V."""
        ids = torch.cat([items.new_zeros(1), items + 1]).to(self.device)
        made = self._made(ids, [expert.name for expert in self._experts])
        return made.texts, made.tables, made.rows

    # ---- ranking ---------------------------------------------------------------------------

    def full_sort_predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the mixed scores of all items, ``[b * n_items]``, by one product."""
        users, items = self._users_and_items(interaction)
        return (users @ items.t()).view(-1)

    def predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the mixed scores of sequences and one item each, ``[batch]``."""
        users, items = self._users_and_items(interaction)
        return (users * items[interaction[self.ITEM_ID]]).sum(-1)

    def sequence_vectors(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the experts' vectors side by side, of sequences and of all items."""
        return self._users_and_items(interaction)

    def _users_and_items(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return sequences ``[b, K d]`` and all items ``[n_items, K d]`` whose products rank.

        The sequences are read by the rows of their own items alone.
        """
        ids, _, batch = self._numbered_anew(interaction, everything=False)
        made = self._made(ids, self._ranking_names())
        return self._encoded(batch, made.paddings, made.rows), self.folded_table()

    def final_tables(self, config: Any) -> dict[str, Tensor] | None:
        """Return what ranks the items, the experts' rows side by side, ``[n_items, K d]``."""
        return {"item": self.folded_table()}

    def forget_tables(self) -> None:
        """Free what was made for an evaluation that is over."""
        self._folded_once.forget()

    def folded_table(self) -> Tensor:
        """Return the items' table that ranks, under a padding row."""
        if self.training or torch.is_grad_enabled():
            self._folded_once.forget()
            return self._folded()["all"]
        return self._folded_once.get([*self.parameters(), *self.buffers()], self._folded)["all"]

    def _folded(self) -> dict[str, Tensor]:
        """Return the table, made a block of items at a time, with no expert's rows beside it."""
        names, width = self._ranking_names(), self._widths().backbone
        table = torch.zeros(self.n_items, len(names) * width, device=self.device)
        for ids in torch.split(torch.arange(1, self.n_items, device=self.device), _BLOCK_ITEMS):
            made = self._made(torch.cat([ids.new_zeros(1), ids]), names)
            rows = list(made.rows.values())
            table[ids[0] : ids[-1] + 1] = folded(rows, self._weights(made.items, made.rows))
        return {"all": table}

"""What every aligner with experts and phases must do, on tensors alone."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.alignment.contract import Aligner, ExpertStep, Widths
from recbole_darec.alignment.phases import Phase
from recbole_darec.testing.aligner_contract import PROFILE_WIDTH, WIDTH, AlignerContract

__all__ = ["ExpertAlignerContract"]

_N_ITEMS = 20


class ExpertAlignerContract(AlignerContract):
    """Inherit, and name the method; see :class:`AlignerContract`."""

    def make(self, **changed: object) -> Aligner:
        """Return a new aligner of seed 0, over items that were counted 0 to 19 times."""
        torch.manual_seed(0)
        made = self.method(self.parsed(**changed), Widths(WIDTH, WIDTH, PROFILE_WIDTH, ("item",)))
        made.count_items(torch.arange(_N_ITEMS))
        return made

    def step(self, aligner: Aligner, phase: Phase, tables: dict[str, Tensor]) -> ExpertStep:
        """Return a step of a phase over every item, each twice."""
        profiles = torch.randn(_N_ITEMS, PROFILE_WIDTH, generator=torch.Generator().manual_seed(3))
        rows = {
            expert.name: aligner.expert_rows(expert.name, tables.get(expert.name), profiles)
            for expert in self.method.experts(aligner.options)
            if not phase.experts or expert.name in phase.experts
        }
        items = torch.arange(_N_ITEMS)

        def ranked(expert: str, its_rows: Tensor) -> Tensor:
            assert expert in rows
            return _fit([its_rows], torch.ones(_N_ITEMS, 1))

        counts = torch.full((_N_ITEMS,), 2)
        return ExpertStep(items, counts, tables, rows, profiles, phase.losses, ranked)

    def tables(self, aligner: Aligner) -> dict[str, Tensor]:
        """Return a trainable table of each expert that has one."""
        generator = torch.Generator().manual_seed(1)
        return {
            expert.name: torch.randn(_N_ITEMS, WIDTH, generator=generator).requires_grad_()
            for expert in self.method.experts(aligner.options)
            if expert.has_table
        }

    def test_phases_name_what_there_is(self) -> None:
        aligner = self.make()
        names = {expert.name for expert in self.method.experts(aligner.options)}
        phases = self.method.phases(aligner.options)
        assert phases
        assert len({phase.name for phase in phases}) == len(phases)
        parts = {name for name, _ in aligner.modules.named_children()}
        for phase in phases:
            assert set(phase.experts) <= names
            # A gate is left out where the experts weigh alike.
            assert set(phase.trained) <= names | parts | {"gate"}
            assert {name for pair in phase.copies for name in pair} <= names
            assert phase.ranks or phase.losses

    def test_a_plain_phase_is_the_backbone_by_itself(self) -> None:
        """Other methods' runs, and runs without a method, may stand for it."""
        aligner = self.make()
        (first, *_), tables = self.method.phases(aligner.options), self.tables(aligner)
        backbone = self.method.experts(aligner.options)[0].name
        if first.plain:
            assert first.experts == first.trained == (backbone,)
            assert first.ranks
            assert not first.freezes_tables
            assert not first.copies
            assert backbone not in self.method.undecayed
            step = self.step(aligner, first, tables)
            assert torch.equal(step.rows[backbone], tables[backbone])
            assert not aligner.expert_losses(step)

    def test_every_part_is_trained_in_some_phase(self) -> None:
        aligner = self.make()
        reached = set()
        phases = self.method.phases(aligner.options)
        for phase in phases:
            aligner.modules.zero_grad()
            total = self.total(aligner, phase, self.tables(aligner))
            torch.autograd.backward(total)
            reached |= {
                name
                for name, parameter in aligner.modules.named_parameters()
                if parameter.grad is not None and (parameter.grad != 0).any()
            }
        last = phases[-1]
        missing = {name for name, _ in aligner.modules.named_parameters()} - reached
        # What an expert that is left out has, and a gate over one expert, is not trained.
        assert not missing or (last.experts and len(last.experts) < len(self.tables(aligner)) + 1)

    def total(self, aligner: Aligner, phase: Phase, tables: dict[str, Tensor]) -> Tensor:
        """Return a phase's own losses with a stand-in for its ranking loss."""
        step = self.step(aligner, phase, tables)
        total = torch.zeros(())
        for loss in aligner.expert_losses(step).values():
            assert loss.shape == ()
            assert bool(loss.isfinite())
            total = total + loss
        if phase.ranks:
            weights = aligner.gate(step.items, step.rows) if step.rows else torch.zeros(0)
            total = total + _fit(list(step.rows.values()), weights)
        return total

    def test_rows_are_as_wide_as_the_backbones(self) -> None:
        aligner = self.make()
        for phase in self.method.phases(aligner.options):
            step = self.step(aligner, phase, self.tables(aligner))
            assert step.rows
            for rows in step.rows.values():
                assert rows.shape == (_N_ITEMS, WIDTH)
                assert bool(rows.isfinite().all())

    def test_gate_weights_are_shares(self) -> None:
        aligner = self.make()
        for phase in self.method.phases(aligner.options):
            step = self.step(aligner, phase, self.tables(aligner))
            weights = aligner.gate(step.items, step.rows)
            assert weights.shape == (_N_ITEMS, len(step.rows))
            assert bool((weights >= 0).all())
            torch.testing.assert_close(weights.sum(1), torch.ones(_N_ITEMS))

    def test_a_row_depends_on_its_own_item_alone(self) -> None:
        aligner = self.make()
        aligner.modules.eval()
        tables = self.tables(aligner)
        profiles = torch.randn(_N_ITEMS, PROFILE_WIDTH)
        for expert in self.method.experts(aligner.options):
            table = tables.get(expert.name)
            every = aligner.expert_rows(expert.name, table, profiles)
            some = aligner.expert_rows(
                expert.name, None if table is None else table[4:7], profiles[4:7]
            )
            torch.testing.assert_close(some, every[4:7])


def _fit(rows: list[Tensor], weights: Tensor) -> Tensor:
    """Return a scalar that stands for a ranking loss: how far weighted sums are from 0 and 1."""
    scores = sum((weights[:, k] * row.sum(1) for k, row in enumerate(rows)), torch.zeros(_N_ITEMS))
    wanted = torch.arange(_N_ITEMS) % 2
    return (scores - wanted).square().mean()

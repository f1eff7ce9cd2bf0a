"""What every alignment method must do, on tensors alone; a new one's test is three lines."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest
import torch

from recbole_darec.alignment.contract import Aligner, TrainingStep, Widths
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import parse_options

N_USERS, N_ITEMS, WIDTH, PROFILE_WIDTH = 30, 20, 8, 12


class AlignerContract:
    """Inherit, and name the method.

    Attributes:
        align: the name that ``--align`` takes.
        options: what it needs on 50 rows.
        refused: option values that it must refuse.
    """

    align: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    refused: ClassVar[list[tuple[str, Any]]] = []

    def make(self, **changed: Any) -> Aligner:
        torch.manual_seed(0)
        method = aligner_class(self.align)
        return method(self.parsed(**changed), Widths(WIDTH, WIDTH, PROFILE_WIDTH, ("user", "item")))

    def parsed(self, **changed: Any) -> Any:
        return parse_options(aligner_class(self.align).Options, {**self.options, **changed})

    def parameters(self, aligner: Aligner) -> list[torch.Tensor]:
        return [] if aligner.modules is None else list(aligner.modules.parameters())

    def descend(self, aligner: Aligner, table: torch.Tensor, n_steps: int) -> list[float]:
        """Adam on the method's own losses, over the embeddings and the method's parameters."""
        optimizer = torch.optim.Adam([table, *self.parameters(aligner)], lr=0.01)
        values = []
        for _ in range(n_steps):
            loss = sum(take_step(aligner, table).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
        return values

    def test_losses_are_named_finite_scalars(self) -> None:
        losses = take_step(self.make(), embeddings())
        assert all(isinstance(name, str) and not name.startswith("base") for name in losses)
        assert all(loss.shape == () and bool(loss.isfinite()) for loss in losses.values())

    def test_gradients_are_finite_and_reach_both_sides(self) -> None:
        aligner, table = self.make(), embeddings()
        losses = take_step(aligner, table)
        if not losses:
            pytest.skip("the method adds no loss")
        sum(losses.values()).backward()
        assert bool(table.grad.isfinite().all())
        for rows in (table.grad[:N_USERS], table.grad[N_USERS:]):
            assert bool((rows != 0).any())
        for parameter in self.parameters(aligner):
            assert parameter.grad is not None
            assert bool(parameter.grad.isfinite().all())
            assert bool((parameter.grad != 0).any())

    def test_frozen_profiles_stay_as_they_are(self) -> None:
        step = planted_step(embeddings())
        before = step.profiles.clone()
        losses = take_step(self.make(), step.collaborative, step)
        sum((loss for loss in losses.values()), torch.zeros((), requires_grad=True)).backward()
        assert torch.equal(step.profiles, before)
        assert step.profiles.grad is None

    def test_the_loss_falls(self) -> None:
        aligner, table = self.make(), embeddings()
        if not take_step(aligner, table):
            pytest.skip("the method adds no loss")
        values = self.descend(aligner, table, 60)
        assert sum(values[-5:]) < sum(values[:5])

    def test_the_same_seed_gives_the_same_values_twice(self) -> None:
        if not take_step(self.make(), embeddings()):
            pytest.skip("the method adds no loss")
        runs = [self.descend(self.make(), embeddings(), 5) for _ in range(2)]
        assert runs[0] == runs[1]

    def test_a_saved_method_goes_on_as_it_would_have(self) -> None:
        aligner, table = self.make(), embeddings()
        if aligner.modules is None:
            pytest.skip("the method has nothing to save")
        self.descend(aligner, table, 3)
        torch.manual_seed(99)
        other = self.make()
        other.modules.load_state_dict(aligner.modules.state_dict())
        found = []
        for one in (aligner, other):
            torch.manual_seed(5)
            losses = take_step(one, table)
            found.append({name: float(loss.detach()) for name, loss in losses.items()})
        assert found[0] == found[1]

    def test_two_of_them_share_nothing(self) -> None:
        first, second = self.make(), self.make()
        if first.modules is None:
            pytest.skip("the method has no parameters")
        before = {k: v.clone() for k, v in second.modules.state_dict().items()}
        self.descend(first, embeddings(), 3)
        assert all(torch.equal(v, before[k]) for k, v in second.modules.state_dict().items())

    def test_ego_and_final_embeddings_keep_their_rows(self) -> None:
        aligner, step = self.make(), planted_step(embeddings())
        for altered in (
            aligner.alter_ego(step.collaborative, step.kinds),
            aligner.alter_final(step.collaborative, step.profiles, step.kinds),
        ):
            assert altered.dim() == 2
            assert len(altered) == len(step.collaborative)

    def test_an_option_of_the_wrong_type_is_refused_by_name(self) -> None:
        for field in dataclasses.fields(aligner_class(self.align).Options):
            with pytest.raises(OptionError, match=field.name):
                self.parsed(**{field.name: {"a": "mapping"}})
        for name, value in self.refused:
            with pytest.raises(OptionError, match=name):
                self.parsed(**{name: value})


def embeddings(seed: int = 1) -> torch.Tensor:
    """A table of users above items, trainable, in no order yet."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_USERS + N_ITEMS, WIDTH, generator=generator).requires_grad_()


def take_step(
    aligner: Aligner, table: torch.Tensor, step: TrainingStep | None = None
) -> dict[str, torch.Tensor]:
    """The losses of a step of a backbone that propagates from one row of a block to the next.

    Where the method changes what ranks, the ranking loss is one of them.
    """
    step = planted_step(table) if step is None else step
    ego = aligner.alter_ego(table, step.kinds)
    rows = aligner.alter_final(ego + ego.roll(2, 0), step.profiles, step.kinds)
    losses = aligner.losses(dataclasses.replace(step, collaborative=rows))
    if aligner.alters("final"):
        user, item, other = (rows[step.batch[role]] for role in ("user", "item", "neg_item"))
        losses["rank"] = torch.nn.functional.softplus((user * (other - item)).sum(-1)).mean()
    return losses


def planted_step(table: torch.Tensor) -> TrainingStep:
    """A step whose profiles say to which of two blocks a row belongs."""
    generator = torch.Generator().manual_seed(2)
    blocks = torch.randn(2, PROFILE_WIDTH, generator=generator)
    noise = 0.2 * torch.randn(len(table), PROFILE_WIDTH, generator=generator)
    batch = torch.arange(10)
    return TrainingStep(
        collaborative=table,
        profiles=(blocks[torch.arange(len(table)) % 2] + noise).half(),
        kinds={"user": slice(0, N_USERS), "item": slice(N_USERS, N_USERS + N_ITEMS)},
        batch={"user": batch, "item": N_USERS + batch, "neg_item": N_USERS + batch + 5},
    )

"""What every alignment method must do, on tensors alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from recbole_darec.alignment.contract import Aligner, Ranking, TrainedRows, TrainingStep, Widths
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import option_names, parse_options

__all__ = [
    "N_ITEMS",
    "N_USERS",
    "PROFILE_WIDTH",
    "WIDTH",
    "AlignerContract",
    "embeddings",
    "planted_step",
    "take_step",
]

N_USERS, N_ITEMS, WIDTH, PROFILE_WIDTH = 30, 20, 8, 12


class AlignerContract:
    """Inherit, and name the method.

    Attributes:
        align: the name that ``--align`` takes, or a class of your own.
        options: what it needs on 50 rows.
        refused: option values that it must refuse.
    """

    align: ClassVar[str | type[Aligner]]
    options: ClassVar[dict[str, Any]] = {}
    refused: ClassVar[list[tuple[str, Any]]] = []

    @property
    def method(self) -> type[Aligner]:
        """The class that ``align`` stands for."""
        return aligner_class(self.align) if isinstance(self.align, str) else self.align

    def make(self, **changed: Any) -> Aligner:
        """Return a new aligner of seed 0, with ``options`` and what is ``changed`` of them."""
        torch.manual_seed(0)
        widths = Widths(WIDTH, WIDTH, PROFILE_WIDTH, ("user", "item"))
        return self.method(self.parsed(**changed), widths)

    def parsed(self, **changed: Any) -> Any:
        """Return the method's checked options."""
        return parse_options(self.method.Options, {**self.options, **changed})

    def parameters(self, aligner: Aligner) -> list[Tensor]:
        """Return what the method trains."""
        return [] if aligner.modules is None else list(aligner.modules.parameters())

    def descend(self, aligner: Aligner, table: Tensor, n_steps: int) -> list[float]:
        """Adam on the method's own losses, over the embeddings and the method's parameters."""
        optimizer = torch.optim.Adam([table, *self.parameters(aligner)], lr=0.01)
        values = []
        for _ in range(n_steps):
            loss = _sum(take_step(aligner, table))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
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
        torch.autograd.backward(_sum(losses))
        assert table.grad is not None
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
        torch.autograd.backward(
            sum((loss for loss in losses.values()), torch.zeros((), requires_grad=True))
        )
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

    def test_scores_keep_their_shape_and_profiles(self) -> None:
        aligner, step = self.make(), planted_step(embeddings())
        if not aligner.alters("scores"):
            pytest.skip("the method alters no scores")
        rng = np.random.RandomState(0)
        pairs = csr_matrix((rng.random_sample((N_USERS, N_ITEMS)) < 0.3).astype(np.float32))
        ranking = Ranking(pairs, step.profiles, step.kinds)
        before = step.profiles.clone()
        aligner.check_ranking(ranking)
        scores, users = torch.randn(3, N_ITEMS), torch.tensor([4, 0, 9])
        metric = iter(range(100))
        aligner.tune_scores(ranking, lambda: float(next(metric)))
        found = aligner.alter_scores(scores, users, ranking)
        assert found.shape == scores.shape
        assert bool(found.isfinite().all())
        alone = aligner.alter_scores(scores[1:2], users[1:2], ranking)
        torch.testing.assert_close(found[1:2], alone, rtol=1e-4, atol=1e-5)
        aligner.alter_scores_in_place(scores, users, ranking)
        torch.testing.assert_close(scores, found, rtol=1e-4, atol=1e-5)
        assert torch.equal(step.profiles, before)

    def test_a_new_profile_becomes_a_row_that_ranks(self) -> None:
        if not self.method.does("rank_profiles"):
            pytest.skip("the method has no way from a profile to a row that ranks")
        aligner, step = self.make(), planted_step(embeddings())
        with torch.no_grad():
            final = aligner.alter_final(step.collaborative, step.profiles, step.kinds)
            items = step.kinds["item"]
            trained = TrainedRows("item", final[items], step.profiles[items], 3)
            new = step.profiles[items][:6] + 0.1
            state = {} if aligner.modules is None else aligner.modules.state_dict()
            before = {k: v.clone() for k, v in state.items()}
            found = aligner.rank_profiles(new, trained)
            assert found is not None
            assert found.shape == (6, final.shape[1])
            assert bool(found.isfinite().all())
            # Each by its own profile, whoever else is new.
            alone = aligner.rank_profiles(new[2:3], trained)
            torch.testing.assert_close(found[2:3], alone, rtol=1e-4, atol=1e-5)
        assert all(torch.equal(state[k], v) for k, v in before.items())

    def test_an_option_of_the_wrong_type_is_refused_by_name(self) -> None:
        for name in option_names(self.method.Options):
            with pytest.raises(OptionError, match=name):
                self.parsed(**{name: {"a": "mapping"}})
        for name, value in self.refused:
            with pytest.raises(OptionError, match=name):
                self.parsed(**{name: value})


def embeddings(seed: int = 1) -> Tensor:
    """Return a trainable table ``[50, 8]`` of users above items, in no order yet."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_USERS + N_ITEMS, WIDTH, generator=generator).requires_grad_()


def take_step(
    aligner: Aligner, table: Tensor, step: TrainingStep | None = None
) -> dict[str, Tensor]:
    """Return the losses of one step of a backbone that propagates within each block of a kind.

    Where the method changes what ranks, the ranking loss is one of them.
    """
    step = planted_step(table) if step is None else step
    ego = aligner.alter_ego(table, step.kinds)
    # From one kind to the other it would hide that a method forgets one of them.
    neighbours = torch.cat([ego[rows].roll(2, 0) for rows in step.kinds.values()])
    rows = aligner.alter_final(ego + neighbours, step.profiles, step.kinds)
    losses = aligner.losses(dataclasses.replace(step, collaborative=rows))
    if aligner.alters("final"):
        user, item, other = (rows[step.batch[role]] for role in ("user", "item", "neg_item"))
        losses["rank"] = torch.nn.functional.softplus((user * (other - item)).sum(-1)).mean()
    return losses


def planted_step(table: Tensor) -> TrainingStep:
    """Return a step whose profiles ``[N, 12]`` say to which of two blocks a row belongs."""
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


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    if not losses:  # a method that adds none
        return torch.zeros((), requires_grad=True)
    return torch.stack(list(losses.values())).sum()

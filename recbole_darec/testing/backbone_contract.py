"""What every backbone must do, alone and under an aligner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from recbole_darec import load_data_and_model, run_recbole_darec
from recbole_darec.embeddings import read_table
from recbole_darec.run import Prepared, make_trainer
from recbole_darec.testing.tiny_dataset import write_tiny
from recbole_darec.testing.tiny_runs import (
    one_batch,
    options,
    outcome,
    parameters,
    prepared,
    scores,
)

__all__ = ["BackboneContract"]

ALIGNED = pytest.mark.parametrize("align", ["none", "darec"])


class BackboneContract:
    """Inherit, and name the backbone.

    Each test runs in a temporary folder of its own, on the tiny data set, with one thread.

    Attributes:
        backbone: the name that ``--model`` takes, or a class of your own.
        options: what it needs on a data set of 60 users and 40 items.
        kinds: whose rows it learns, in the order of the profiles.
        found: the metric that so many epochs must bring above a number, which says that what is
            planted in the data is found.
        data_path: the folder in which the test's data set ``tiny`` is.
    """

    backbone: ClassVar[str | type]
    options: ClassVar[dict[str, Any]] = {}
    kinds: ClassVar[tuple[str, ...]] = ("user", "item")
    # 10 of the 32 items that are left hold 0.31 of a user's two; of the block's 12, 0.83.
    found: ClassVar[tuple[str, float, int]] = ("recall@10", 0.5, 15)
    data_path: Path

    @pytest.fixture(autouse=True)
    def _in_own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        self.data_path = self.write_data(tmp_path / "dataset")

    def write_data(self, folder: Path) -> Path:
        """Write the data set ``tiny``, and return its folder."""
        return write_tiny(folder).data_path

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        """More than one would wait for each other: a tiny step has nothing to share out."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)

    def prepared(self, align: str, **changed: Any) -> Prepared:
        """Return everything of a quick run but its training."""
        return prepared(self.data_path, self.backbone, align=align, **{**self.options, **changed})

    def run(self, align: str, **changed: Any) -> dict[str, Any]:
        """Train and test, and return the run's result."""
        given = options(self.data_path, align=align, **{**self.options, **changed})
        return run_recbole_darec(self.backbone, "tiny", config_dict=given)

    def load(self, file: str) -> Any:
        """Return what a checkpoint holds, as :func:`recbole_darec.load_data_and_model` does."""
        own_class = None if isinstance(self.backbone, str) else self.backbone
        return load_data_and_model(file, own_class)

    def a_step(self, run: Prepared) -> list[Tensor]:
        """Return the parts of the loss of the first batch."""
        run.model.train()
        if hasattr(run.model, "e_step"):
            run.model.e_step()
        parts = run.model.calculate_loss(one_batch(run))
        return list(parts) if isinstance(parts, tuple) else [parts]

    @ALIGNED
    def test_losses_are_finite_and_every_parameter_learns(self, align: str) -> None:
        run = self.prepared(align)
        parts = self.a_step(run)
        assert all(bool(part.isfinite().all()) for part in parts)
        assert len(run.model.loss_names) == len(parts)
        torch.autograd.backward(_sum(parts))
        for name, value in run.model.named_parameters():
            assert value.grad is not None, name
            assert bool(value.grad.isfinite().all()), name
        moved = [name for name, v in run.model.named_parameters() if bool((v.grad != 0).any())]
        assert any(name.startswith("alignment") for name in moved) == (align == "darec")
        for side in self.kinds:
            assert any(side in name for name in moved), f"no gradient reaches the {side}s"

    def test_alignment_reaches_every_kind(self) -> None:
        run = self.prepared("darec")
        self.a_step(run)
        extra = [n for n, name in enumerate(run.model.loss_names) if not name.startswith("base")]
        parts = self.a_step(run)
        for side in self.kinds:
            tables = [
                value
                for name, value in run.model.named_parameters()
                if side in name and not name.startswith("alignment")
            ]
            total = _sum([parts[n] for n in extra])
            grads = torch.autograd.grad(total, tables, retain_graph=True, allow_unused=True)
            assert any(g is not None and bool((g != 0).any()) for g in grads), side

    @ALIGNED
    def test_the_loss_falls_and_what_is_planted_is_found(self, align: str) -> None:
        losses: list[float] = []
        run = self.prepared(align, epochs=1)
        optimizer = torch.optim.Adam(run.model.parameters(), lr=0.01)
        for _ in range(6):
            total = 0.0
            run.model.train()
            if hasattr(run.model, "e_step"):
                run.model.e_step()
            for batch in run.train_data:
                parts = run.model.calculate_loss(batch.to(run.config["device"]))
                loss = _sum(parts if isinstance(parts, tuple) else [parts])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                total += float(loss.detach())
            losses.append(total)
        assert losses[-1] < losses[0]
        metric, least, epochs = self.found
        assert self.run(align, epochs=epochs)["test_result"][metric] > least

    @ALIGNED
    def test_the_same_seed_gives_the_same_result_twice_and_another_seed_another(
        self, align: str
    ) -> None:
        first, second = self.run(align), self.run(align)
        assert outcome(first) == outcome(second)
        third = self.run(align, seed=7)
        models = [self.load(r["model_file"])[1] for r in (first, second, third)]
        weights = [parameters(model) for model in models]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])

    @ALIGNED
    def test_a_saved_model_scores_as_it_did(self, align: str) -> None:
        run = self.prepared(align)
        self.a_step(run)
        trainer = make_trainer(run)
        trainer._save_checkpoint(0)
        _, model, _, _, _, test_data = self.load(trainer.saved_model_file)
        run.model.eval()
        users = test_data.user_df
        with torch.no_grad():
            again = model.full_sort_predict(users).view(len(users), -1)
        assert torch.equal(scores(run), again)

    def test_profiles_are_not_read_without_an_aligner(self) -> None:
        for file in (self.data_path / "tiny").glob("*emb*"):
            file.unlink()
        run = self.prepared("none")
        assert run.model.profile_rows.numel() == 0

    def test_no_state_leaks_from_one_run_to_the_next(self) -> None:
        alone = outcome(self.run("none"))
        self.run("darec", seed=3, epochs=1, metrics=["MRR"], valid_metric="MRR@10")
        assert outcome(self.run("none")) == alone

    def test_padding_is_never_aligned(self) -> None:
        run = self.prepared("darec", align_sample="all")
        users, items = (
            read_table(self.data_path / "tiny" / f"tiny.{kind}emb") for kind in ("user", "item")
        )
        # 60 users and 40 items, and not the padding row of each.
        assert len(run.model.profile_rows) == len(users.tokens) + len(items.tokens) == 100
        dataset = run.dataset
        for kind, field, table in (
            ("user", dataset.uid_field, users),
            ("item", dataset.iid_field, items),
        ):
            tokens = dataset.field2id_token[field][1:]
            rows = [table.tokens.index(token) for token in tokens]
            expected = torch.from_numpy(table.matrix[rows].copy())
            assert torch.equal(run.model.profile_rows[run.model._kinds[kind]], expected)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """Add the parts of a loss up; RecBole's L2 term is of shape ``[1]``, others are scalars."""
    return torch.stack([part.sum() for part in parts]).sum()

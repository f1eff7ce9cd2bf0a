"""Which models several processes may train, and what keeps the others from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.model.general_recommender import BPR
from torch import Tensor, nn

from recbole_darec.errors import OptionError
from recbole_darec.prepared import prepare
from recbole_darec.recbole_compat import recbole_trainer
from recbole_darec.resolve import resolve
from recbole_darec.testing.tiny_runs import parameters
from recbole_darec.training.divisible import check_divisible
from recbole_darec.training.run_state import _random_state


class Normalised(BPR):  # type: ignore[misc]
    """Its loss looks across the rows of a batch."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.norm = nn.BatchNorm1d(self.embedding_size)

    def calculate_loss(self, interaction: Any) -> Tensor:
        users = self.norm(self.user_embedding(interaction[self.USER_ID]))
        items = self.item_embedding(interaction[self.ITEM_ID])
        loss: Tensor = -torch.nn.functional.logsigmoid((users * items).sum(-1)).mean()
        return loss


class Noisy(BPR):  # type: ignore[misc]
    """It draws for the rows that it sees."""

    def calculate_loss(self, interaction: Any) -> Tensor:
        loss: Tensor = super().calculate_loss(interaction)
        return loss + 0.0 * torch.randn(len(interaction)).sum()


def check(folder: Path, model: Any, size: int = 2, **given: Any) -> Any:
    asked = {"data_path": str(folder / "dataset"), "align": "none", **given}
    run = prepare(resolve(model, "tiny", None, asked))
    before = parameters(run.model), _random_state(run.train_data)
    modes = [module.training for module in run.model.modules()]
    check_divisible(
        run.config, run.model, run.train_data, recbole_trainer(run.config, run.model), size
    )
    assert modes == [module.training for module in run.model.modules()]
    assert str(before) == str((parameters(run.model), _random_state(run.train_data)))
    return run


@pytest.mark.parametrize("model", ["BPR", "NeuMF", "LightGCN"])
def test_a_mean_over_rows_is_split(model: str, tiny_dataset: object, tmp_path: Path) -> None:
    check(tmp_path, model, 3)


@pytest.mark.parametrize(
    ("model", "given", "reason"),
    [
        ("NGCF", {}, "cannot be split, its L2 term is a norm of a whole batch"),
        ("ENMF", {}, "cannot be split, the loss of a batch is no mean over its rows"),
        (
            Normalised,
            {"embedding_size": 8},
            "cannot be split, the loss of a batch is no mean over its rows",
        ),
        (Noisy, {"embedding_size": 8}, "it draws random numbers that depend on which rows"),
        ("RecVAE", {}, "trained by RecBole's RecVAETrainer in a loop of its own"),
        ("EASE", {}, "'EASE' trains nothing in steps"),
        ("Pop", {}, "'Pop' trains nothing in steps"),
    ],
)
def test_another_is_refused(
    model: Any, given: dict[str, Any], reason: str, tiny_dataset: object, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"nproc=2: .*{reason}.*: train it with nproc=1"):
        check(tmp_path, model, **given)

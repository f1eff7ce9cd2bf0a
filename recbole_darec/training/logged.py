"""What a trainer logs of an epoch: its losses by name, and what the diagnostics found."""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import set_color
from torch import Tensor

from recbole_darec.errors import UserError
from recbole_darec.training.losses import by_name, loss_line, number_line

__all__ = ["LoggedTrainer"]


class LoggedTrainer:
    """Mixin over a RecBole trainer: its losses go by their names into the log and TensorBoard."""

    config: Any
    model: Any
    watch: Any
    phases: Any
    diagnoses: bool
    logger: Any
    tensorboard: Any

    def _check_nan(self, loss: Tensor) -> None:
        # Asked by those of RecBole's trainers that have a training loop of their own.
        if torch.isnan(loss):
            raise UserError(
                "the training loss is not a number: lower learning_rate or the weights of the loss"
            )

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: Any
    ) -> str:
        digits = self.config["loss_decimal_place"] or 4
        named, seconds = by_name(self.model, losses), e_time - s_time
        self.watch.trained(epoch_idx, seconds, named, self.phases.number)  # logged or not
        return loss_line(epoch_idx, seconds, named, digits)

    def _add_train_loss_to_tensorboard(
        self, epoch_idx: int, losses: Any, tag: str = "Loss/Train"
    ) -> None:
        named = by_name(self.model, losses)
        self.tensorboard.add_scalar(tag, sum(named.values()), epoch_idx)
        for name, value in named.items():
            self.tensorboard.add_scalar(f"{tag}/{name}", value, epoch_idx)
        found = getattr(self.model, "diagnostics", {}) if self.diagnoses else {}
        if found:
            title = set_color(f"epoch {epoch_idx} diagnostics", "green")
            self.logger.info(f"{title} [{number_line(found)}]")
        for name, value in found.items():
            self.tensorboard.add_scalar(f"Diagnostics/{name}", value, epoch_idx)

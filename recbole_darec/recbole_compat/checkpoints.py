"""RecBole's own trainers' checkpoints, without a pickled configuration in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
import torch
from recbole.trainer import Trainer
from recbole.utils import set_color

from recbole_darec.data.files import keeping_ctrl_c, replacing

__all__ = ["save_plain_configurations"]


def save_plain_configurations() -> None:
    """Let RecBole's trainers save a configuration as a plain dictionary.

    Works around: they pickle their Config object, with a protocol that torch 2.6 and later refuse
    to load (``weights_only``), so that a fit cannot be evaluated or resumed from its checkpoint.
    """
    Trainer._save_checkpoint = _save_checkpoint


def _save_checkpoint(self: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
    path = Path(kwargs.pop("saved_model_file", self.saved_model_file))
    state = {
        "config": json.loads(json.dumps(self.config.final_config_dict, default=str)),
        "epoch": int(epoch),
        "cur_step": int(self.cur_step),
        "best_valid_score": float(self.best_valid_score),
        "state_dict": self.model.state_dict(),
        "other_parameter": self.model.other_parameter(),
        "optimizer": self.optimizer.state_dict(),
    }
    with replacing(path) as file, keeping_ctrl_c():
        torch.save(state, file)
    if verbose:
        self.logger.info(set_color("Saving current", "blue") + f": {path}")

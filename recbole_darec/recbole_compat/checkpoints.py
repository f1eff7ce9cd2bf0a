"""RecBole's own trainers' checkpoints, without a pickled configuration in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
import torch
from recbole.trainer import Trainer
from recbole.utils import set_color

from recbole_darec.data.files import replacing

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
        "config": {key: _plain(value) for key, value in self.config.final_config_dict.items()},
        "epoch": int(epoch),
        "cur_step": int(self.cur_step),
        "best_valid_score": float(self.best_valid_score),
        "state_dict": self.model.state_dict(),
        "other_parameter": self.model.other_parameter(),
        "optimizer": self.optimizer.state_dict(),
    }
    with replacing(path) as file:
        torch.save(state, file)
    if verbose:
        self.logger.info(set_color("Saving current", "blue") + f": {path}")


def _plain(value: Any) -> Any:
    """Return a value as numbers, text, lists and dictionaries; anything else as text."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)  # NumPy's float64 is a float, and a pickled object all the same
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(part) for part in value]
    return str(value)

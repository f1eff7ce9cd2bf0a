"""Every work-around for RecBole 1.2.1, each beside the behaviour that it is for.

Nothing else in this package patches, subclasses for repair, or reaches around RecBole.
"""

from __future__ import annotations

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.utils import ModelType, init_seed

from recbole_darec.recbole_compat.added import add_training_noise
from recbole_darec.recbole_compat.config import AlignedConfig, make_config
from recbole_darec.recbole_compat.constructors import plain_files, raised_in_a_model
from recbole_darec.recbole_compat.datasets import (
    evaluation_loader,
    load_dataset,
    recbole_trainer,
    split_dataset,
    training_loader,
)
from recbole_darec.recbole_compat.devices import gpu_count
from recbole_darec.recbole_compat.fast_layers import use_fast_layers
from recbole_darec.recbole_compat.logs import log_file, logging_until_checked, start_logging
from recbole_darec.recbole_compat.reconcile import reconcile

__all__ = [
    "AlignedConfig",
    "ModelType",
    "add_training_noise",
    "evaluation_loader",
    "gpu_count",
    "init_seed",
    "load_dataset",
    "log_file",
    "logging_until_checked",
    "make_config",
    "plain_files",
    "raised_in_a_model",
    "recbole_trainer",
    "reconcile",
    "split_dataset",
    "start_logging",
    "training_loader",
    "use_fast_layers",
]

"""Random interactions added to RecBole's training part (``train_noise``)."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import numpy as np

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
import torch
from recbole.data.interaction import Interaction

from recbole_darec.data.noise import random_pairs
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions

__all__ = ["add_training_noise"]


def add_training_noise(config: Any, parts: list[Any]) -> None:
    """Add the share of random interactions that a run asks for to its training part, in place.

    A pair that stands in any part is not drawn, so that validation and test stay what they were.
    Other columns of an added row, such as a rating, are those of a training row drawn at random.

    Args:
        config: the run's configuration.
        parts: training, validation and test part.

    Raises:
        OptionError: there are not so many pairs without an interaction.
    """
    options = options_from_config(RunOptions, config)
    train = parts[0]
    wanted = round(options.train_noise * len(train.inter_feat))
    if not wanted:
        return
    seed = options.train_noise_seed
    seed = int(config["seed"] if seed is None else seed)
    users, items = (
        np.concatenate([part.inter_feat[field].numpy() for part in parts])
        for field in (train.uid_field, train.iid_field)
    )
    drawn = random_pairs(users, items, train.user_num, train.item_num, wanted, seed)
    rows = np.random.default_rng([seed, 1]).integers(len(train.inter_feat), size=wanted)
    kept = train.inter_feat.interaction
    added = {name: column[torch.from_numpy(rows)] for name, column in kept.items()}
    for field, ids in zip((train.uid_field, train.iid_field), drawn):
        added[field] = torch.from_numpy(ids).to(kept[field].dtype)
    joined = {name: torch.cat([column, added[name]]) for name, column in kept.items()}
    train.inter_feat = Interaction(joined)
    getLogger().info(
        f"train_noise: {wanted:,} random interactions in the training part (seed {seed})"
    )

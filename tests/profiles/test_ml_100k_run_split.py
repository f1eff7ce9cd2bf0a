"""A run on ml-100k trains on exactly the interactions that its profiles tell."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from .tables import ml_100k
from .test_ml_100k_sample import split_labels

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seed", [7, 2020])
def test_the_split_of_a_run_is_that_of_the_sample(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole.config import Config
    from recbole.data import create_dataset

    from recbole_darec.recbole_compat import reconcile, split_dataset

    reconcile()
    monkeypatch.setattr(sys, "argv", ["run"])  # RecBole reads options from it
    options = yaml.safe_load((ROOT / "properties/dataset/ml-100k.yaml").read_text("utf-8"))
    config = Config(model="BPR", dataset="ml-100k", config_dict={**options, "seed": seed})
    dataset = create_dataset(config)
    parts, _ = split_dataset(config, dataset)

    _, _, inter = ml_100k()
    labels = split_labels(inter)
    for label, part in enumerate(parts):
        users, items = (
            dataset.field2id_token[field][np.asarray(part.inter_feat[field])]
            for field in ("user_id", "item_id")
        )
        told = inter[labels == label]
        assert set(zip(users, items)) == set(zip(told["user_id"], told["item_id"]))

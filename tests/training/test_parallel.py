"""Two processes train the model that one trains."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_darec.prepared import make_trainer, prepare
from recbole_darec.recbole_compat import recbole_trainer
from recbole_darec.resolve import resolve
from recbole_darec.settings.processes import Place
from recbole_darec.testing.tiny_dataset import write_tiny
from recbole_darec.testing.tiny_runs import options, parameters
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training.divisible import check_divisible
from recbole_darec.training.parallel import current_ranks, joined
from recbole_darec.training.processes import Machine, train_together

Case = tuple[str, str, dict[str, Any]]

SEQUENCES = ("SASRec", "GRU4Rec", "Caser")
# An odd number, so that shares differ.
ROWS = {"train_batch_size": 65, "epochs": 1}

QUICK: list[Case] = [
    ("LightGCN", "darec", {"uniformity_sample": 32, "diagnostics": True}),
    ("LightGCN", "rlmrec_con", {"negatives": "all"}),
    ("SGL", "kar", {"clip_grad_norm": {"max_norm": 0.01}}),
    ("NCL", "relational", {"num_clusters": 4, "warm_up_step": 0, "proto_reg": 1e-3}),
    ("SASRec", "darec", {"hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3}),
    ("SASRec", "pad", {}),
]
MORE: list[Case] = [
    ("LightGCN", "none", {}),
    ("BPR", "darec", {}),
    ("LightGCN", "rlmrec_gen", {}),
    ("LightGCN", "relational_con", {"rank_loss": "softmax"}),
    ("LightGCN", "darec", {"align_sample": "all", "learner": "sgd", "weight_decay": 1e-3}),
    ("SimGCL", "rlmrec_con", {}),
    ("SGL", "none", {"type": "RW", "loss_reduction": "sum"}),
    ("NCL", "darec", {"num_clusters": 4, "warm_up_step": 1, "epochs": 2}),
    ("GCCF", "none", {}),
    ("DCCF", "none", {}),
    ("AutoCF", "none", {}),
    ("SASRec", "none", {"rank_loss": "ce"}),
    ("SASRec", "kar", {"training_rows": "prefixes"}),
    ("GRU4Rec", "rlmrec_con", {"dropout_prob": 0.3}),
    ("Caser", "none", {}),
    ("SASRec", "morec", {}),
]


def trained(folder: Path, case: Case) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train one case; its losses and metrics by name, and its parameters."""
    model, align, given = case
    torch.set_num_threads(1)
    kind = "sequences" if model in SEQUENCES else "general"
    asked = options(folder / kind, align=align, **{**ROWS, **given})
    if model not in ("LightGCN", "SGL", "SimGCL", "NCL", "GCCF", "DCCF", "AutoCF"):
        asked.pop("n_layers")
    if model in SEQUENCES:
        # At 0.01 Adam makes 2e-5 of the last digit of a gradient that is next to nothing.
        asked.update(MAX_ITEM_LIST_LENGTH=8, learning_rate=0.001)
        asked.pop("embedding_size")
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else _in(folder):
        run = prepare(resolve(model, "tiny", None, asked))
        if (size := current_ranks().size) > 1:
            stock = recbole_trainer(run.config, run.model)
            check_divisible(run.config, run.model, run.train_data, stock, size)
        trainer = make_trainer(run)
        trainer.fit(run.train_data, run.valid_data, verbose=False, saved=False)
        metrics = trainer.evaluate(run.test_data, load_best_model=False)
    losses = {f"loss {epoch}": loss for epoch, loss in trainer.train_loss_dict.items()}
    return {**losses, **metrics}, {n: v.numpy() for n, v in parameters(run.model).items()}


@contextlib.contextmanager
def _in(folder: Path) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def all_trained(place: Place, folder: Path, cases: list[Case]) -> list[Any]:
    with joined(place):
        return [trained(folder, case) for case in cases]


def assert_as_one(folder: Path, cases: list[Case], size: int) -> None:
    write_tiny(folder / "general")
    write_tiny_sequences(folder / "sequences")
    found = train_together(Machine(size), all_trained, (folder, cases))
    for case, (numbers, tensors) in zip(cases, found):
        alone, of_one = trained(folder, case)
        assert numbers == pytest.approx(alone, rel=1e-5), case
        assert list(tensors) == list(of_one)
        for name, values in tensors.items():
            np.testing.assert_allclose(
                values, of_one[name], rtol=1e-5, atol=1e-5, err_msg=f"{case} {name}"
            )


def test_two_train_the_model_of_one(tmp_path: Path) -> None:
    assert_as_one(tmp_path, QUICK, 2)


@pytest.mark.slow
def test_two_train_each_model_of_one(tmp_path: Path) -> None:
    assert_as_one(tmp_path, MORE, 2)


@pytest.mark.slow
def test_three_train_the_model_of_one(tmp_path: Path) -> None:
    assert_as_one(tmp_path, QUICK, 3)

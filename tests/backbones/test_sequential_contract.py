"""The contract of the sequential backbones: the papers' three, and three more of RecBole's."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from recbole_darec.testing import SequentialBackboneContract

# The circle of the tiny data set is learned in some 80 steps at this rate.
QUICK: dict[str, Any] = {"rank_loss": "ce", "learning_rate": 0.03}
SHORT: dict[str, Any] = {**QUICK, "MAX_ITEM_LIST_LENGTH": 3}
ATTENTION: dict[str, Any] = {
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "n_heads": 1,
    "hidden_dropout_prob": 0.1,
    "attn_dropout_prob": 0.1,
}


class TestSASRec(SequentialBackboneContract):
    backbone = "SASRec"
    options: ClassVar = {**QUICK, **ATTENTION, "train_batch_size": 16}
    positions = True


class TestGRU4Rec(SequentialBackboneContract):
    backbone = "GRU4Rec"
    options: ClassVar = {**QUICK, "hidden_size": 8, "dropout_prob": 0.1, "train_batch_size": 16}
    positions = True


class TestCaser(SequentialBackboneContract):
    backbone = "Caser"
    options: ClassVar = {**SHORT, "nh": 2, "nv": 2, "dropout_prob": 0.1}


@pytest.mark.slow
class TestNARM(SequentialBackboneContract):
    backbone = "NARM"
    options: ClassVar = {**SHORT, "hidden_size": 8, "dropout_probs": [0.1, 0.1]}


@pytest.mark.slow
class TestSTAMP(SequentialBackboneContract):
    backbone = "STAMP"
    options: ClassVar = SHORT


@pytest.mark.slow
class TestLightSANs(SequentialBackboneContract):
    backbone = "LightSANs"
    options: ClassVar = {**SHORT, **ATTENTION, "k_interests": 2}

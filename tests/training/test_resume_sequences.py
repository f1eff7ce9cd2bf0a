"""A killed run of a sequential model ends as the uninterrupted one, its negatives too."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import in_clean_process, outcome, train

from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from training.killing import Moment, train_until

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "positions": (
        "SASRec",
        {"hidden_size": 8, "inner_size": 8, "hidden_dropout_prob": 0.2, "train_batch_size": 12},
    ),
    "prefixes": ("Caser", {"MAX_ITEM_LIST_LENGTH": 3, "nh": 2, "train_batch_size": 60}),
}


@pytest.mark.parametrize(
    ("name", "moment"), [("positions", ("step", 13)), ("prefixes", ("written", 3))]
)
def test_a_killed_run_ends_as_the_uninterrupted_one(
    name: str, moment: Moment, tmp_path: Path
) -> None:
    data = str(write_tiny_sequences(tmp_path / "dataset").data_path)
    model, changed = RUNS[name]
    changed = {"align": "darec", "epochs": 5, **changed}
    code, whole = in_clean_process(train, tmp_path / "whole", data, changed, model)
    assert code == 0
    folder = tmp_path / "killed"
    code, _ = in_clean_process(train_until, folder, data, changed, moment, model)
    assert code == -signal.SIGKILL
    code, found = in_clean_process(train, folder, data, {**changed, "resume": True}, model)
    assert code == 0
    assert outcome(found) == outcome(whole)

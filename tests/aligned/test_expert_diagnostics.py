"""What a run over experts logs: the gate, the discrepancy, and Kendall's tau by bucket."""

from __future__ import annotations

import logging
import math
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import in_clean_process, options, outcome, train
from training.killing import train_until

from recbole_darec import run_recbole_darec
from recbole_darec.aligned.expert_diagnostics import ExpertDiagnostics, kendall_tau, sample_pairs
from recbole_darec.testing.tiny_sequences import write_tiny_sequences

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "train_batch_size": 16,
    "gate_buckets": 4,
    "align": "pad",
}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_tau_counts_concordant_less_discordant_pairs(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(side, dtype=float) for side in zip(*pairs))
    signs = [
        (np.sign(first[i] - first[j]), np.sign(second[i] - second[j]))
        for i, j in combinations(range(len(pairs)), 2)
    ]
    untied = math.prod(sum(abs(sign[side]) for sign in signs) for side in (0, 1))
    found = kendall_tau(first, second)
    if untied:
        assert found == pytest.approx(sum(a * b for a, b in signs) / math.sqrt(untied), abs=1e-9)
    else:
        assert math.isnan(found)


def test_pairs_are_of_one_users_history_and_a_later_target() -> None:
    users = torch.tensor([0, 0, 0, 0, 2, 2, 2, 5])
    items = torch.tensor([10, 11, 12, 13, 20, 20, 22, 30])
    generator = torch.Generator().manual_seed(0)
    found = {
        (int(h), int(t))
        for h, t in zip(*sample_pairs(users, items, 2, 2000, generator), strict=True)
    }
    assert found == {(10, 11), (10, 12), (11, 12), (11, 13), (12, 13), (20, 22)}
    assert [len(side) for side in sample_pairs(users[-1:], items[-1:], 2, 9, generator)] == [0, 0]


def test_a_space_that_keeps_its_distances_has_tau_one() -> None:
    users, items = torch.arange(90) // 6, torch.arange(90) * 7 % 30 + 1
    watch = ExpertDiagnostics(users, items, 31, 5, 3)
    table = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    other = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    watch.remember(lambda numbers: table[numbers])
    tables = {"same": 3.0 * table[watch.items] + 1.0, "other": other[watch.items]}
    found = watch.taus(other[watch.items], tables, {"texts": other[watch.items] * 2.0})
    for bucket in (1, 2, 3):
        assert found[f"tau_ids_same_{bucket}"] == pytest.approx(1.0, abs=1e-4)
        assert found[f"tau_texts_texts_{bucket}"] == pytest.approx(1.0, abs=1e-4)
        assert abs(found[f"tau_ids_other_{bucket}"]) < 0.5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_sequences(tmp_path_factory.mktemp("data") / "dataset").data_path)


def logged(records: list[logging.LogRecord]) -> list[dict[str, float]]:
    """The diagnostics of each epoch, by name."""
    lines = [r.getMessage() for r in records if "diagnostics" in r.getMessage()]
    return [
        {name: float(value) for name, value in re.findall(r"(\w+): (-?[\d.e-]+)", line)}
        for line in lines
    ]


def test_each_epoch_of_a_run_tells_gate_discrepancy_and_tau(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    given = options(Path(data), **SMALL, pad_gamma=5.0, phase_epochs=[1, 6, 1])
    plain = run_recbole_darec("SASRec", "tiny", config_dict=given)
    with caplog.at_level(logging.INFO):
        watched = run_recbole_darec("SASRec", "tiny", config_dict={**given, "diagnostics": True})
    assert outcome(plain) == outcome(watched)
    epochs = logged(caplog.records)
    assert len(epochs) == 8
    assert all(math.isfinite(value) for epoch in epochs for value in epoch.values())
    buckets = range(1, 5)
    experts = {f"gate_{e}_{b}" for e in ("id", "align", "llm") for b in buckets}
    texts = {f"tau_texts_{e}_{b}" for e in ("id", "align", "llm") for b in buckets}
    ids = {f"tau_ids_{e}_{b}" for e in ("id", "align") for b in buckets}
    assert set(epochs[0]) == experts | texts | {"mmd_align"}
    assert set(epochs[1]) == set(epochs[0]) | ids
    # When the second phase begins, the aligned table is a copy of the first phase's.
    assert [epochs[1][f"tau_ids_align_{b}"] for b in buckets] == [1.0] * 4
    assert [epochs[6][f"tau_ids_id_{b}"] for b in buckets] == [1.0] * 4
    assert epochs[6]["tau_ids_align_1"] < 1.0
    assert epochs[7]["mmd_align"] < 0.5 * epochs[1]["mmd_align"]


def test_a_run_that_goes_on_compares_with_the_same_first_phase(data: str, tmp_path: Path) -> None:
    """Killed in the second phase: what it logs afterwards is what it would have logged."""
    given = {**SMALL, "phase_epochs": [1, 3, 1], "diagnostics": True}
    code, whole = in_clean_process(train, tmp_path / "whole", data, given, "SASRec")
    assert code == 0
    moment = ("step", 11)  # of four an epoch: in the second epoch of the second phase
    code, _ = in_clean_process(train_until, tmp_path / "killed", data, given, moment, "SASRec")
    assert code != 0
    given["resume"] = True
    code, found = in_clean_process(train, tmp_path / "killed", data, given, "SASRec")
    assert (code, outcome(found)) == (0, outcome(whole))
    lines = {name: read_log(tmp_path / name) for name in ("whole", "killed")}
    assert lines["killed"] == lines["whole"][2:]
    assert "tau_ids_align_1" in lines["killed"][0]


def read_log(folder: Path) -> list[str]:
    """The lines of diagnostics in the newest log, without their times."""
    newest = max(folder.rglob("*.log"), key=lambda path: path.stat().st_mtime_ns)
    lines = [line for line in newest.read_text("utf-8").splitlines() if "diagnostics" in line]
    return [line[line.index("[") :] for line in lines]

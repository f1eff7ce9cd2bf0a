"""Runs of a study that train in phases, or tell their metrics apart by buckets of items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_darec.alignment.registry import aligner_class
from recbole_darec.resolve import resolve
from recbole_darec.settings.options import option_names
from recbole_darec.studies.outcome import Task
from recbole_darec.studies.search import tuning_trials
from recbole_darec.studies.statistics import over_users
from recbole_darec.studies.study import Method, Trial, read_study
from recbole_darec.studies.worker import _Notes, done
from recbole_darec.testing.tiny_dataset import write_tiny
from recbole_darec.testing.tiny_runs import options
from recbole_darec.testing.tiny_sequences import write_tiny_sequences


def test_the_epochs_of_phases_are_counted_on(tmp_path: Path) -> None:
    notes = _Notes(tmp_path / "curve.jsonl", None)
    for phase, epoch in ((0, 0), (0, 1), (1, 0), (2, 0), (1, 0), (2, 1)):  # one of them twice
        notes.trained(epoch, 1.0, {"base": 10.0 * phase + epoch}, phase)
    notes.validated(1, 0.5, 2)
    curve = notes.curve()
    assert [(e["epoch"], e.get("phase", 0), e["losses"]["base"]) for e in curve] == [
        (0, 0, 0.0), (1, 0, 1.0), (2, 1, 10.0), (3, 2, 20.0), (4, 2, 21.0),
    ]  # fmt: skip
    assert curve[-1]["valid"] == 0.5
    assert notes.curve() == curve  # the lines stay until the outcome is written


@pytest.mark.parametrize("align", ["pad", "ctrl"])
def test_a_worker_brings_phases_and_buckets(
    align: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_tiny_sequences(tmp_path / "dataset").data_path
    given: dict[str, Any] = {
        "align": align,
        "hidden_size": 8,
        "inner_size": 8,
        "n_layers": 1,
        "epochs": 2,
        "result_buckets": 3,
        "eval_mask": "history_all",
        "metrics": ["Hit", "NDCG"],
        "topk": [5],
        "valid_metric": "Hit@5",
    }
    if align == "pad":
        given["gate_buckets"] = 4
    values = resolve("SASRec", "tiny", None, options(data, **given)).values
    folder = tmp_path / "run"
    folder.mkdir()
    outcome = done(Task("key", "SASRec", "tiny", align, values, str(folder), False))
    assert outcome.state == "done", outcome.reason
    n_phases = {"pad": 3, "ctrl": 2}[align]
    assert [epoch["epoch"] for epoch in outcome.curve] == list(range(2 * n_phases))
    # The contrast's own phase is judged by its loss, which is no validation.
    assert sum("valid" in epoch for epoch in outcome.curve) == {"pad": 6, "ctrl": 2}[align]
    assert outcome.users is not None
    for bucket in ("warm", "median", "cold"):
        rows = outcome.users[f"hit@5 {bucket}"]
        assert float(np.nanmean(rows)) == pytest.approx(outcome.test[f"hit@5 {bucket}"])
    assert set(outcome.groups["users"]["cold"]) == {"n", "most", "hit@5", "ndcg@5"}


STUDY = read_study("sequences")
CELLS = [method for method in STUDY.methods() if method.dataset == "prime_pantry"]


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.backbone} {cell.name}")
def test_each_cell_of_the_bundled_study_runs(
    cell: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On few items, in one epoch a phase, with the first setting that its tuning tries."""
    monkeypatch.chdir(tmp_path)
    data = write_tiny_sequences(tmp_path / "dataset").data_path
    setting = tuning_trials(STUDY, replace(cell, tuned=True))[:1]
    trial = setting[0] if setting else Trial(cell, 1)
    small: dict[str, Any] = {"epochs": 1, "train_batch_size": 16}
    if not cell.alone:
        small |= {"hidden_size": 8, "inner_size": 8}
    for name, value in (("gate_buckets", 4), ("align_sample", 16), ("n_centers", 3)):
        if name in option_names(aligner_class(cell.align).Options):
            small[name] = value
    given = {**trial.given, "align": cell.align, "data_path": str(data), **small}
    values = resolve(cell.model, "tiny", None, {**given, "show_progress": False}).values
    folder = tmp_path / "run"
    folder.mkdir()
    outcome = done(Task("key", cell.model, "tiny", cell.align, values, str(folder), False))
    assert outcome.state == "done", outcome.reason
    assert outcome.users is not None
    assert {f"{m}@10 {b}" for m in ("hit", "ndcg") for b in ("warm", "median", "cold")} <= set(
        outcome.test
    ) & set(outcome.users)


def test_users_without_a_target_in_the_bucket_are_no_pairs() -> None:
    users = np.arange(4, dtype=np.int32)
    one = {"users": users, "hit@5 cold": np.array([1.0, 1.0, np.nan, 0.0], np.float32)}
    other = {"users": users, "hit@5 cold": np.array([0.0, 1.0, np.nan, 0.0], np.float32)}
    assert over_users({1: one}, {1: other}, "hit@5 cold").n == 3


@pytest.mark.parametrize(
    ("mode", "metrics"), [("uni20", ["Recall"]), ("full", ["GAUC"]), ("labeled", ["AUC"])]
)
def test_a_worker_brings_what_there_is_of_other_evaluations(
    mode: str, metrics: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampled candidates are rows of pairs, and metrics of labels rank nobody."""
    monkeypatch.chdir(tmp_path)
    data = write_tiny(tmp_path / "dataset").data_path
    if mode == "labeled":
        for part in (data / "tiny").glob("*.inter"):
            head, *lines = part.read_text().splitlines()
            labelled = [f"{line}\t{n % 2}" for n, line in enumerate(lines)]
            part.write_text("\n".join([f"{head}\tlabel:float", *labelled, ""]))
    metric = "Recall@5" if metrics == ["Recall"] else metrics[0]
    given = {"align": "none", "epochs": 1, "metrics": metrics, "valid_metric": metric, "topk": [5]}
    if metrics == ["Recall"]:
        given["result_buckets"] = 3
    if mode == "labeled":
        given["load_col"] = {"inter": ["user_id", "item_id", "label"]}
    given["eval_args"] = {"mode": mode}
    values = resolve("LightGCN", "tiny", None, options(data, **given)).values
    (tmp_path / "run").mkdir()
    outcome = done(Task("k", "LightGCN", "tiny", "none", values, str(tmp_path / "run"), False))
    assert outcome.state == "done", outcome.reason
    assert (outcome.users is None) == (mode == "labeled")
    if outcome.users is not None:
        assert len(set(outcome.users["users"])) == len(outcome.users["users"])
    if mode == "uni20":
        assert outcome.users is not None
        rows = outcome.users["recall@5"]
        assert float(rows.mean()) == pytest.approx(outcome.test["recall@5"])
        thirds = outcome.groups["users"].values()
        assert sum(third["n"] * third["recall@5"] for third in thirds) == pytest.approx(rows.sum())

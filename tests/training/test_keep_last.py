"""A finished run goes on with more epochs, and ends as the run that had them from the start."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import in_clean_process, options, outcome, plain_result

from recbole_darec import evaluate_checkpoint, run_recbole_darec
from recbole_darec.backbones.ncl import NCL
from recbole_darec.errors import CheckpointError
from training.killing import train_until

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "darec": ("LightGCN", {"edge_keep_rate": 0.8, "align_sample": 50}),
    # The best of the first epochs stays the best, or a later one is.
    "falling": ("LightGCN", {"learning_rate": 0.3, "stopping_step": 20}),
    "tuned in the end": ("BPR", {"align": "text_filter"}),
    "SGL": ("SGL", {"align": "none"}),
    "NCL": ("NCL", {"num_clusters": 4, "warm_up_step": 2, "m_step": 3, "align": "none"}),
    "AutoCF": ("AutoCF", {"n_seeds": 2, "mask_every": 4, "align": "none"}),
    "RecVAE": ("RecVAE", {"align": "none"}),
    "never validated": ("LightGCN", {"align": "none", "eval_step": 0}),
}
_DARECS = ("align_sample", "align_width", "align_mlp_hidden")


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


def run(name: str, data_path: Path, epochs: int, saved: bool = True, **changed: Any) -> Any:
    model, own = RUNS[name]
    given = options(data_path, **{**own, "epochs": epochs, **changed})
    if own.get("align", "darec") != "darec":
        given = {key: value for key, value in given.items() if key not in _DARECS}
    if model in ("BPR", "RecVAE"):
        del given["n_layers"]
    return plain_result(run_recbole_darec(model, "tiny", config_dict=given, saved=saved))


def newest_log() -> str:
    logs = Path("log").rglob("*.log")
    return max(logs, key=lambda path: path.stat().st_mtime_ns).read_text()


def trained_epochs() -> list[int]:
    # Runs that start within one second share a log; each that goes on says so first.
    own = re.split(r"Resuming '|Going on with the finished run", newest_log())[-1]
    return [int(epoch) for epoch in re.findall(r"epoch (\d+) training", own)]


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("saved").iterdir()}


@pytest.mark.parametrize("name", RUNS)
def test_more_epochs_end_as_the_longer_run(name: str, data_path: Path) -> None:
    longer = run(name, data_path, 8, checkpoint_dir="elsewhere")
    short = run(name, data_path, 3, keep_last=True)
    before = contents()
    assert sorted(Path(file).suffix for file in before) == [".last", ".pth"]
    found = run(name, data_path, 8, resume=True)
    assert trained_epochs() == [3, 4, 5, 6, 7]
    assert "Going on with the finished run" in newest_log()
    assert outcome(found) == outcome(longer)
    assert evaluate_checkpoint(found["model_file"])["test"] == found["test_result"]
    # What the short run wrote stays as it is, and nothing but the longer one's model is added.
    after = contents()
    assert {file: after[file] for file in before} == before
    assert set(after) - set(before) == {Path(found["model_file"]).name}
    assert found["model_file"] != short["model_file"]


def test_a_run_can_go_on_again_and_again(data_path: Path) -> None:
    longer = run("darec", data_path, 7, checkpoint_dir="elsewhere")
    for epochs in (2, 4, 7):
        found = run("darec", data_path, epochs, keep_last=True, resume=True)
    assert trained_epochs() == [4, 5, 6]
    assert outcome(found) == outcome(longer)
    # Not from the newest, which is too long, but from the newest that is not.
    assert outcome(run("darec", data_path, 5, resume=True)) == outcome(
        run("darec", data_path, 5, checkpoint_dir="elsewhere")
    )


def test_the_best_model_comes_along_if_its_file_is_gone(data_path: Path) -> None:
    longer = run("falling", data_path, 8, checkpoint_dir="elsewhere")
    short = run("falling", data_path, 6, keep_last=True)
    assert longer["best_epoch"] < 6, "a later epoch is the best: the model need not come along"
    Path(short["model_file"]).unlink()
    found = run("falling", data_path, 8, resume=True)
    assert outcome(found) == outcome(longer)
    content = torch.load(found["model_file"], weights_only=True)
    assert content["epoch"] == found["best_epoch"]
    assert content["settings"]["epochs"] == 8


def test_an_early_stop_goes_on_with_more_patience_alone(data_path: Path) -> None:
    given = {"stopping_step": 2, "keep_last": True}
    stopped = run("falling", data_path, 60, **given)
    n_epochs = len(trained_epochs())
    assert n_epochs < 60
    before = contents()
    again = run("falling", data_path, 90, resume=True, **given)
    assert trained_epochs() == []
    assert f"stopped early after {n_epochs} epochs" in newest_log()
    assert outcome(again) == outcome(stopped)
    assert again["model_file"] == stopped["model_file"]
    assert contents() == before
    patient = run("falling", data_path, 90, resume=True, stopping_step=4)
    assert trained_epochs()[0] == n_epochs
    assert outcome(patient) == outcome(
        run("falling", data_path, 90, stopping_step=4, checkpoint_dir="elsewhere")
    )


@pytest.mark.parametrize("name", ["darec", "tuned in the end"])
def test_a_run_that_has_its_epochs_is_tested_again(name: str, data_path: Path) -> None:
    first = run(name, data_path, 3, keep_last=True)
    again = run(name, data_path, 3, resume=True)
    assert trained_epochs() == []
    assert "has the 3 epochs that it is to have" in newest_log()
    assert outcome(again) == outcome(first)
    assert again["model_file"] == first["model_file"]


def test_nothing_is_written_where_nothing_is_saved(data_path: Path) -> None:
    run("darec", data_path, 2, saved=False, keep_last=True)
    assert not list(Path("saved").iterdir())
    run("darec", data_path, 2, keep_last=True)
    before = contents()
    longer = run("darec", data_path, 4, saved=False, checkpoint_dir="elsewhere")
    assert outcome(run("darec", data_path, 4, saved=False, resume=True)) == outcome(longer)
    assert contents() == before


def test_a_continued_run_that_is_killed_goes_on(data_path: Path, tmp_path: Path) -> None:
    longer = run("darec", data_path, 8, checkpoint_dir="elsewhere")
    run("darec", data_path, 3, keep_last=True)
    model, own = RUNS["darec"]
    given = {**own, "epochs": 8, "resume": True}
    # In the first epoch, from the last state once more; in a later one, from a snapshot.
    for moment in (("step", 4), ("step", 15)):
        code, _ = in_clean_process(train_until, tmp_path, str(data_path), given, moment, model)
        assert code == -signal.SIGKILL
    found = run("darec", data_path, 8, resume=True)
    assert trained_epochs() == [5, 6, 7]
    assert outcome(found) == outcome(longer)
    assert not list(Path("saved").glob("*.resume"))


class WithoutClusters(NCL):
    """Like RecBole's NCL, whose clusters are in no checkpoint."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.other_parameter_name = ["restore_user_e", "restore_item_e"]


WithoutClusters.__name__ = "NCL"


def test_between_two_e_steps_nothing_is_kept_of_a_model_that_forgets_its_clusters(
    data_path: Path,
) -> None:
    own = {**RUNS["NCL"][1], "keep_last": True}
    for epochs, n_kept in ((4, 0), (3, 1)):
        given = options(data_path, **own, epochs=epochs)
        run_recbole_darec(WithoutClusters, "tiny", config_dict=given)
        assert len(list(Path("saved").glob("*.last"))) == n_kept
        assert ("not after 4 epochs; give a multiple of 3" in newest_log()) == (epochs == 4)


# ---- what cannot go on ------------------------------------------------------------------------


def test_without_a_last_state_the_run_starts_anew_and_says_how_to_keep_one(data_path: Path) -> None:
    run("darec", data_path, 2)
    run("darec", data_path, 3, resume=True)
    assert trained_epochs() == [0, 1, 2]
    assert "no finished one that kept its last state (--keep_last)" in newest_log()


@pytest.mark.parametrize(
    ("kept", "asked", "reason"),
    [
        ({"epochs": 3}, {"epochs": 2}, "has 3 epochs, and this run is to have 2: give more"),
        ({"epochs": 3, "eval_step": 5}, {"epochs": 8, "eval_step": 5}, "validated every 3 epochs"),
        ({"epochs": 2, "stopping_step": 9}, {"epochs": 8, "stopping_step": 1}, "give 9 or more"),
    ],
)
def test_a_run_that_would_have_been_another_is_refused_or_started_anew(
    kept: dict[str, Any], asked: dict[str, Any], reason: str, data_path: Path
) -> None:
    run("darec", data_path, keep_last=True, **kept)
    (last,) = Path("saved").glob("*.last")
    before = contents()
    with pytest.raises(CheckpointError, match=f"cannot go on with the finished run.*{reason}"):
        run("darec", data_path, resume=str(last), **asked)
    assert contents() == before
    run("darec", data_path, resume=True, **asked)
    assert reason in newest_log()
    assert trained_epochs()[0] == 0


def test_the_last_state_of_other_options_is_not_found_and_is_refused_by_name(
    data_path: Path,
) -> None:
    run("darec", data_path, 2, keep_last=True)
    (last,) = Path("saved").glob("*.last")
    with pytest.raises(CheckpointError, match="other options"):
        run("darec", data_path, 4, resume=str(last), learning_rate=0.02)
    run("darec", data_path, 4, resume=True, learning_rate=0.02)
    assert trained_epochs() == [0, 1, 2, 3]
    last.write_bytes(last.read_bytes()[:-500])
    for wanted in (str(last), True):
        with pytest.raises(CheckpointError, match="damaged"):
            run("darec", data_path, 4, resume=wanted)

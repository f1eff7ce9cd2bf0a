"""The three functions that RecBole's users expect, called as they would call them."""

from __future__ import annotations

import inspect
import logging
import queue
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import environment
from recbole.trainer import HyperTuning
from tiny_runs import QUICK, in_clean_process, options, outcome, plain_result

import recbole_darec
from recbole_darec import load_data_and_model, objective_function, run_recbole_darec
from recbole_darec.errors import UserError


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("run_recbole_darec", "run_recbole"),
        ("objective_function", "objective_function"),
        ("load_data_and_model", "load_data_and_model"),
    ],
)
def test_arguments_are_recboles_and_then_ours(ours: str, theirs: str) -> None:
    quick_start = pytest.importorskip(
        "recbole.quick_start", reason="needs ray, which it imports", exc_type=ImportError
    )

    def arguments(function: Any) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]

    expected = arguments(getattr(quick_start, theirs))
    found = arguments(getattr(recbole_darec, ours))
    assert found[: len(expected)] == expected
    assert all(default is not inspect.Parameter.empty for _, default in found[len(expected) :])


def test_every_public_name_is_there() -> None:
    for name in recbole_darec.__all__:
        assert getattr(recbole_darec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'run_recbole_darek'"):
        recbole_darec.run_recbole_darek  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, recbole_darec; from recbole_darec import UserError;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'recbole', 'pandas')))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0


# ---- run_recbole_darec ------------------------------------------------------------------------


def test_a_run_returns_what_recboles_returns_and_more(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    assert set(result) == {
        "best_valid_score", "valid_score_bigger", "best_valid_result", "test_result",
        "best_epoch", "model_file", "log_file",
    }  # fmt: skip
    metrics = {f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in (5, 10)}
    assert set(result["test_result"]) == set(result["best_valid_result"]) == metrics
    assert result["valid_score_bigger"] is True
    assert Path(result["model_file"]).is_file()
    assert "epoch 1 training" in Path(result["log_file"]).read_text()


def test_the_default_data_path_is_the_working_folder() -> None:
    assert run_recbole_darec("LightGCN", "tiny", config_dict=QUICK)["best_epoch"] >= 0


def test_model_and_dataset_may_stand_in_a_file(data_path: Path) -> None:
    Path("mine.yaml").write_text("model: lightgcn\ndataset: tiny\nalign: none\nepochs: 1\n")
    result = run_recbole_darec(config_file_list=["mine.yaml"])
    assert Path(result["model_file"]).name.startswith("LightGCN-tiny-")


def test_the_command_line_of_the_process_is_not_read(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    polluted = ["pytest", "--epochs=99", "--model=BPR", "--seed=7", "--nonsense", "-x"]
    monkeypatch.setattr(sys, "argv", polluted)
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    assert outcome(result) == outcome(clean)
    trial = objective_function({**options(data_path), "model": "LightGCN", "dataset": "tiny"})
    assert trial["test_result"] == clean["test_result"]
    loaded = load_data_and_model(result["model_file"])
    assert loaded[0]["seed"] == clean_seed(clean)


def clean_seed(result: dict[str, Any]) -> int:
    return torch.load(result["model_file"], weights_only=True)["settings"].get("seed", 2020)


def test_the_callers_command_line_wins_over_all(data_path: Path) -> None:
    given = options(data_path, epochs=5)
    result = run_recbole_darec("LightGCN", "tiny", config_dict=given, command_line={"epochs": 1})
    assert result["best_epoch"] == 0


def test_the_result_goes_into_the_queue(data_path: Path) -> None:
    line: queue.Queue[Any] = queue.Queue()
    result = run_recbole_darec("LightGCN", "tiny", None, options(data_path), True, line)
    assert line.get_nowait() == result


def test_nothing_is_saved_unless_asked(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path), saved=False)
    assert result["model_file"] is None
    assert not list(Path().rglob("*.pth"))
    assert not list(Path().rglob("*.resume"))


def test_the_callers_dictionary_stays_as_it_is(data_path: Path) -> None:
    given = options(data_path)
    before = {key: repr(value) for key, value in given.items()}
    run_recbole_darec("LightGCN", "tiny", config_dict=given)
    assert {key: repr(value) for key, value in given.items()} == before


def test_a_mistake_is_a_user_error_and_leaves_no_file(data_path: Path) -> None:
    before = sorted(Path().rglob("*"))
    for model, dataset, given in (
        ("LightGNC", "tiny", {}),
        ("LightGCN", "tinny", {}),
        ("LightGCN", "tiny", {"epoch": 3}),
        ("LightGCN", "tiny", {"align": "darek"}),
        ("LightGCN", "tiny", {"topk": [50], "valid_metric": "Recall@50"}),
    ):
        with pytest.raises(UserError):
            run_recbole_darec(model, dataset, config_dict=options(data_path, **given))
    assert sorted(Path().rglob("*")) == before


def test_the_callers_log_handlers_are_left_in_place(data_path: Path) -> None:
    root = logging.getLogger()
    mine = logging.NullHandler()
    root.addHandler(mine)
    try:
        for seed in (1, 2):
            run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, seed=seed))
        assert mine in root.handlers
        # One console and one file of ours, not one pair a run.
        files = [h for h in root.handlers if isinstance(h, logging.FileHandler)]
        assert len([h for h in files if "LightGCN" in h.baseFilename]) == 1
    finally:
        root.removeHandler(mine)
    first, second = sorted(Path("log/LightGCN").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    for log in (first, second):
        assert log.read_text().count("epoch 0 training") == 1


# ---- objective_function -----------------------------------------------------------------------


@pytest.fixture
def hyperopt() -> None:
    reason = "needs hyperopt 0.2.5 (the tune extra) and setuptools < 81"
    pytest.importorskip("hyperopt", reason=reason, exc_type=ImportError)


@pytest.mark.usefixtures("hyperopt")
def test_hyper_tuning_searches_exhaustively(data_path: Path) -> None:
    Path("fixed.yaml").write_text(
        "model: LightGCN\ndataset: tiny\n"
        + "".join(f"{key}: {value}\n" for key, value in QUICK.items())
        + f"data_path: {data_path}\n"
    )
    tuning = HyperTuning(
        objective_function,
        algo="exhaustive",
        params_dict={"choice": {"learning_rate": [0.001, 0.05]}},
        fixed_config_file_list=["fixed.yaml"],
    )
    tuning.run()
    assert len(tuning.score_list) == 2
    assert set(tuning.params2result) == {"learning_rate:0.001", "learning_rate:0.05"}
    best = max(tuning.params2result.values(), key=lambda result: result["best_valid_score"])
    assert tuning.best_score == best["best_valid_score"]
    assert tuning.best_params in ({"learning_rate": 0.05}, {"learning_rate": 0.001})
    scores = {r["best_valid_score"] for r in tuning.params2result.values()}
    assert len(scores) == 2, "the trial's parameter changes nothing"
    Path("found.txt").touch()
    tuning.export_result("found.txt")
    assert "Valid result" in Path("found.txt").read_text()


@pytest.mark.usefixtures("hyperopt")
def test_hyper_tuning_reads_a_parameter_file(data_path: Path) -> None:
    given = {**options(data_path, epochs=1), "model": "LightGCN", "dataset": "tiny"}
    Path("fixed.yaml").write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
    Path("params.txt").write_text(
        "align choice ['none','darec']\nalign_mlp_hidden choice ['[8]','[4,4]']\n"
    )
    tuning = HyperTuning(
        objective_function, params_file="params.txt", fixed_config_file_list=["fixed.yaml"]
    )
    tuning.run()
    assert len(tuning.params2result) == 4


def test_a_trial_returns_what_hyper_tuning_reads(data_path: Path) -> None:
    given = {**options(data_path), "model": "lightgcn", "dataset": "tiny"}
    trial = objective_function(given, None, False)
    assert trial["model"] == "LightGCN"
    assert isinstance(trial["best_valid_score"], float)
    assert trial["valid_score_bigger"] is True
    direct = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path), saved=False)
    assert trial["test_result"] == direct["test_result"]


# ---- load_data_and_model ----------------------------------------------------------------------


def scores_of(model_file: str) -> list[list[float]]:
    """Scores of the first test users, read from a file alone."""
    _, model, _, _, _, test_data = load_data_and_model(model_file)
    with torch.no_grad():
        users = test_data.user_df[:5]
        return model.full_sort_predict(users).view(len(users), -1).tolist()


@pytest.mark.parametrize("align", ["none", "darec"])
def test_a_model_is_loaded_in_another_process(align: str, data_path: Path, tmp_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, align=align))
    file = str(Path(result["model_file"]).resolve())
    code, elsewhere = in_clean_process(scores_of, tmp_path / "elsewhere", file)
    assert code == 0
    assert elsewhere == scores_of(file)
    assert not (tmp_path / "elsewhere" / "log").exists()


def test_loading_returns_recboles_six_things(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    config, model, dataset, train_data, valid_data, test_data = load_data_and_model(
        result["model_file"]
    )
    assert config["model"] == "LightGCN"
    assert config["align"] == "darec"
    assert type(model).__name__ == "DaRecLightGCN"
    assert model.training is False
    assert (dataset.user_num, dataset.item_num) == (61, 41)
    assert len(train_data._dataset.inter_feat) == 360
    assert len(valid_data._dataset.inter_feat) == len(test_data._dataset.inter_feat) == 120


def test_loading_and_training_do_not_disturb_each_other(data_path: Path) -> None:
    first = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    before = scores_of(first["model_file"])
    second = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    assert plain_result(outcome(first)) == plain_result(outcome(second))
    assert scores_of(first["model_file"]) == before

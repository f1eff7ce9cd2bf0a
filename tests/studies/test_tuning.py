"""``recbole-darec tune``: real tunings of tiny runs, and what is refused before the first one."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, RunCli, TinyDataset, command, environment

from recbole_darec.cli.main import main
from recbole_darec.errors import OptionError
from recbole_darec.studies.outcome import Outcome, read_outcome
from recbole_darec.studies.tuning import Teller, Tuning
from recbole_darec.studies.tuning_files import trials_folder
from recbole_darec.studies.tuning_params import params_file, ranges_of
from recbole_darec.testing import write_tiny_sequences
from recbole_darec.testing.tiny_dataset import write_tiny
from studies.in_this_process import InThisProcess

QUICK = [
    "--model=LightGCN", "--dataset=tiny", "--align=none", "--epochs=2", "--embedding_size=8",
    "--metrics=['Recall']", "--topk=[10]", "--valid_metric=Recall@10", "--num_threads=1",
]  # fmt: skip


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def trials_of(output: Path) -> dict[str, dict[str, float]]:
    """The valid and test metric of each trial, read as a user of RecBole reads the file."""
    found = {}
    for block in output.read_text().strip().split("\n\n"):
        setting, _, valid, _, test = block.splitlines()
        assert re.fullmatch(r"\w+:\S+(, \w+:\S+)*", setting)
        found[setting] = {
            name: float(line.partition(" : ")[2])
            for name, line in (("valid", valid), ("test", test))
        }
    return found


@pytest.fixture
def here(tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of :func:`main` are done in this process, in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recbole_darec.studies.tuning.LocalProcesses", lambda _: InThisProcess())


@pytest.mark.usefixtures("here")
def test_a_grid_is_tried_whole_and_the_best_by_validation_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], run_warm: RunCli
) -> None:
    written(tmp_path / "p.hyper", "learning_rate choice [0.001,0.02]\n")
    args = [*QUICK, "--params_file=p.hyper", "--output_file=o.result", "--display_file=d.html"]
    assert main(["tune", *args]) == 0
    trials = trials_of(tmp_path / "o.result")
    assert set(trials) == {"learning_rate:0.001", "learning_rate:0.02"}
    best = max(trials, key=lambda setting: trials[setting]["valid"])
    config = yaml.safe_load((tmp_path / "o.best.yaml").read_text())
    assert f"learning_rate:{config['learning_rate']}" == best
    assert "plotly" in (tmp_path / "d.html").read_text()
    # The yaml alone is the run, to the digit.
    again = run_warm(["train", "--config_files=o.best.yaml", "--json", "--state=ERROR"], tmp_path)
    result = yaml.safe_load(again.stdout)
    assert result["best_valid_result"]["recall@10"] == trials[best]["valid"]
    assert result["test_result"]["recall@10"] == trials[best]["test"]
    # Finished trials are not run again, and the files come out the same.
    files = {name: (tmp_path / name).read_bytes() for name in ("o.result", "o.best.yaml")}
    capfd.readouterr()
    assert main(["tune", *args, "--resume"]) == 0
    assert capfd.readouterr().out.count("done before") == 2
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def end_worker_of(driver: subprocess.Popen[str]) -> None:
    """Kill the process that a driver has started for a trial, or is about to start."""
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if "studies.worker" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(int(child), signal.SIGKILL)
                    return
        time.sleep(0.01)
    raise AssertionError("there is no worker")


@pytest.mark.usefixtures("here")
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_killed_worker_and_killed_driver(tmp_path: Path, run_warm: RunCli) -> None:
    written(tmp_path / "p.hyper", "learning_rate loguniform -6,-3\n")
    args = [*QUICK, "--params_file=p.hyper", "--max_evals=2", "--early_stop=9"]
    assert main(["tune", *args, "--output_file=whole.result"]) == 0
    driver = subprocess.Popen(
        command(["tune", *args, "--output_file=o.result"]),
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("running parameters"):
            end_worker_of(driver)
            break
    seen = list(itertools.takewhile(lambda line: "trial 1 of 2" not in line, driver.stdout))
    assert any("ended by signal 9" in line for line in seen)
    driver.kill()
    driver.wait()
    cut = run_warm(["tune", *args, "--output_file=o.result"], tmp_path)
    assert cut.returncode == 2
    assert "cut off: go on with --resume" in cut.stderr
    resumed = run_warm(["tune", *args, "--output_file=o.result", "--resume"], tmp_path)
    assert "trial 1 of 2" in resumed.stdout
    assert (tmp_path / "o.result").read_text() == (tmp_path / "whole.result").read_text()


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        ("learning_rat choice [1.0]", [], "did you mean 'learning_rate'"),
        ("kd_weight choice [0.1]", [], "'kd_weight' has no effect: align=none does not read it"),
        ("kd_weight choice [0.1]", ["--align=darec"], "belongs to"),
        ("n_layers choice [1,-2]", [], "n_layers=-2 must be at least 0"),
        ("n_layers uniform 1,2.5", [], "n_layers=2.5"),
        ("loss_type choice ['BPR']", [], "'loss_type' has no effect"),
        ("valid_metric choice ['Recall@5']", [], "is the same for all trials"),
        ("state choice ['INFO']", [], "is the same for all trials"),
        ("epochs choice [1,2]", ["--epochs=3"], "given on the command line, too"),
        ("", [], "names no parameter"),
        ("n_layers choice [1]", ["--params_file=darek"], "did you mean 'darec'"),
        ("n_layers choice [1]", ["--max_evals=0"], "--max_evals=0 must be at least 1"),
        ("n_layers choice [1]", ["--tool=Optuna"], "--tool='Optuna' must be one of Hyperopt, Ray"),
        ("n_layers choice [1]", ["--output_file=no/o.result"], "there is no folder 'no'"),
        ("n_layers choice [1]", ["--ray_address=a:1"], "goes with --tool=Ray"),
        ("n_layers choice [1]", ["--ray-address=a:1"], "goes with --tool=Ray"),
        (
            "n_layers choice [1]",
            ["--ray-adress=a:1"],
            "unknown option 'ray_adress' on the command line",
        ),
        ("n_layers choice [1]", ["--model=LightGCM"], "LightGCN"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    text: str,
    args: list[str],
    words: str,
    tiny_dataset: TinyDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path / "p.hyper", text)
    names = [arg.partition("=")[0] for arg in args]
    kept = [arg for arg in QUICK if arg.partition("=")[0] not in names]
    if "epochs" not in text:
        kept = [*kept, "--stopping_step=3"]
    elif "--epochs" not in names:
        kept = [arg for arg in kept if not arg.startswith("--epochs")]
    own = [] if "--params_file" in names else [f"--params_file={file}"]
    before = set(tmp_path.iterdir())
    assert main(["tune", *kept, *own, *args]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) == before


def test_a_data_set_without_profiles_is_one_line_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "dataset")
    for path in (tmp_path / "dataset" / "tiny").glob("*emb*"):
        path.unlink()
    args = ["--model=LightGCN", "--dataset=tiny", "--align=rlmrec_con", "--params_file=rlmrec_con"]
    before = set(tmp_path.iterdir())
    assert main(["tune", *args]) == 2
    error = capsys.readouterr().err
    assert "'tiny' has no profile embeddings" in error
    assert error.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_of_a_metric_that_is_better_when_smaller_the_best_trial_has_the_smallest(
    tmp_path: Path,
) -> None:
    write_tiny(tmp_path)
    params = written(tmp_path / "p.hyper", "learning_rate choice [0.1,0.2,0.3,0.4]\n")
    for metric, best in (("AveragePopularity@10", 0.3), ("GiniIndex@10", 0.3), ("Recall@10", 0.2)):
        name = metric.partition("@")[0]
        given = {"data_path": str(tmp_path), "align": "none", "metrics": ["Recall", name],
                 "topk": [10], "valid_metric": metric}  # fmt: skip
        ranges, fixed = ranges_of(Path(params), "LightGCN", "tiny", [], given)
        tuning = Tuning("LightGCN", "tiny", [], given, ranges, fixed, tmp_path)
        scores = {0.1: 0.5, 0.2: 0.7, 0.3: 0.2, 0.4: None}
        teller = Teller(tuning, 4)
        for rate, score in scores.items():
            valid = {} if score is None else {metric.lower(): score}
            outcome = Outcome("failed" if score is None else "done", valid=valid)
            teller.note(tuning.done({"learning_rate": rate}, outcome), known=True)
        assert teller.best is not None
        assert teller.best.setting == {"learning_rate": best}
        # What the search is told: less is better, whatever the metric.
        losses = {rate: tuning.loss(score) for rate, score in scores.items() if score is not None}
        assert min(losses, key=lambda rate: losses[rate] or 0.0) == best


@pytest.mark.usefixtures("here")
def test_a_setting_that_fails_ends_no_tuning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "p.hyper", "reg_weight choice [1e-05,1e39]\n")
    args = [*QUICK, "--params_file=p.hyper", "--output_file=o.result"]
    assert main(["tune", *args]) == 0
    assert "1 of 2 trials failed" in capfd.readouterr().out
    assert "Failed:\n" in (tmp_path / "o.result").read_text()
    assert yaml.safe_load((tmp_path / "o.best.yaml").read_text())["reg_weight"] == 1e-05
    logs = [read_outcome(one) for one in (tmp_path / "o.trials").iterdir() if one.is_dir()]
    assert sorted(outcome.state for outcome in logs if outcome) == ["done", "failed"]


SEQUENTIAL = ("pad", "make", "smem", "hybrid", "morec", "ctrl")
BUNDLED = sorted(path.stem for path in (REPOSITORY / "properties" / "tuning").glob("*.hyper"))


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_ranges_are_of_their_method(name: str, tmp_path: Path) -> None:
    path = params_file(name)
    (write_tiny_sequences if name in (*SEQUENTIAL, "SequenceKNN") else write_tiny)(tmp_path)
    given = {"data_path": str(tmp_path)}
    model = name if name[0].isupper() else "SASRec" if name in SEQUENTIAL else "LightGCN"
    align = "none" if name[0].isupper() else name
    ranges, _ = ranges_of(path, model, "tiny", [], {**given, "align": align})
    assert ranges


def test_every_method_has_ranges() -> None:
    from recbole_darec.alignment.registry import ALIGNERS
    from recbole_darec.backbones.registry import BACKBONES

    without = {"MostPopular", "MarkovChain"}  # nothing to choose
    assert set(BUNDLED) == {*ALIGNERS, *BACKBONES} - without


def test_an_unknown_bundled_file_is_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'LightGCN'"):
        params_file("properties/tuning/LightGCM.hyper")


def ray_tune() -> None:
    pytest.importorskip("hyperopt")
    pytest.importorskip("ray.tune", reason="needs ray[tune]", exc_type=ImportError)


@pytest.mark.slow
def test_ray_tries_the_grid_and_comes_to_the_same_best(
    tiny_dataset: TinyDataset, tmp_path: Path, run_cli: RunCli
) -> None:
    ray_tune()
    written(tmp_path / "p.hyper", "learning_rate choice [0.001,0.05]\n")
    # No trial is stopped: with two epochs ASHA's first rung is the last.
    args = [*QUICK, "--params_file=p.hyper", "--eval_step=2"]
    done = run_cli(["tune", *args, "--tool=Ray", "--output_file=o.result"], tmp_path)
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path / "o.result")
    assert set(trials) == {"learning_rate:0.001", "learning_rate:0.05"}
    config = (tmp_path / "o.best.yaml").read_text()
    best = max(trials, key=lambda setting: trials[setting]["valid"])
    assert f"learning_rate:{yaml.safe_load(config)['learning_rate']}" == best
    again = run_cli(["train", "--config_files=o.best.yaml", "--json", "--state=ERROR"], tmp_path)
    assert yaml.safe_load(again.stdout)["test_result"]["recall@10"] == trials[best]["test"]


def test_nothing_but_a_folder_of_trials_is_emptied(tmp_path: Path) -> None:
    output = tmp_path / "o.result"
    trials = tmp_path / "o.trials"
    trials.mkdir()
    (trials / "mine").touch()
    for resume in (False, True):
        with pytest.raises(OptionError, match="holds something else"):
            trials_folder(output, resume=resume)
    assert (trials / "mine").is_file()
    (trials / "mine").unlink()
    assert trials_folder(output, resume=False) == trials
    (trials / "left").touch()
    assert trials_folder(output, resume=True) == trials
    assert (trials / "left").is_file()
    trials_folder(output, resume=False)  # no trial had ended
    assert not (trials / "left").exists()


@pytest.mark.slow
def test_ray_stops_the_weak_and_goes_on_after_kills(
    tiny_dataset: TinyDataset, tmp_path: Path, run_cli: RunCli
) -> None:
    """A worker is killed, then the command; the same command with --resume ends the search."""
    ray_tune()
    written(tmp_path / "p.hyper", "learning_rate loguniform -9,-2\nn_layers choice [1,2]\n")
    quick = [arg for arg in QUICK if not arg.startswith("--epochs")]
    args = [*quick, "--params_file=p.hyper", "--epochs=40", "--stopping_step=40", "--tool=Ray",
            "--max_evals=8", "--early_stop=9", "--output_file=o.result"]  # fmt: skip
    driver = subprocess.Popen(
        command(["tune", *args]), cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    trials = tmp_path / "o.trials"
    deadline = time.monotonic() + 200
    while not list(trials.glob("*/*.resume")) and time.monotonic() < deadline:
        time.sleep(0.2)
    for status in Path("/proc").glob("[0-9]*/cwd"):
        try:
            inside = status.resolve().is_relative_to(trials)
        except OSError:
            continue
        if inside and status.parent.name != str(driver.pid):
            os.kill(int(status.parent.name), signal.SIGKILL)
            break
    assert driver.stdout is not None
    for line in driver.stdout:
        if "2 of 8 trials over" in line:
            break
    driver.kill()
    driver.wait()
    time.sleep(5)  # Ray's processes end with the driver, in their own time
    resumed = run_cli(["tune", *args, "--resume"], tmp_path, timeout=500)
    assert resumed.returncode == 0, resumed.stderr
    text = (tmp_path / "o.result").read_text()
    assert text.count("Valid result:") == 8
    assert "stopped after" in text
    assert yaml.safe_load((tmp_path / "o.best.yaml").read_text())["model"] == "LightGCN"


@pytest.mark.slow
def test_ml_100k_with_a_worker_killed(tmp_path: Path, run_cli: RunCli) -> None:
    args = [
        "--model=LightGCN", "--dataset=ml-100k", "--align=darec", "--params_file=darec",
        "--max_evals=4", "--epochs=6", "--align_mlp_hidden=[64]", "--num_threads=1",
    ]  # fmt: skip
    start = command(["tune", *args, "--output_file=o.result"])
    driver = subprocess.Popen(start, cwd=tmp_path, env=environment(), text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "o.trials").glob("*/*.resume")) and time.monotonic() < deadline:
        time.sleep(0.2)
    end_worker_of(driver)
    assert driver.wait(900) == 0
    log = run_cli(["tune", *args, "--output_file=whole.result"], tmp_path, timeout=900)
    assert log.returncode == 0, log.stderr
    assert (tmp_path / "o.result").read_text() == (tmp_path / "whole.result").read_text()

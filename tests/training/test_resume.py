"""A run killed at any moment and continued ends as the uninterrupted one, to the last digit."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import environment
from tiny_runs import in_clean_process, options, outcome, plain_result, train
from warm import begin_command, run_command

from recbole_darec import evaluate_checkpoint, run_recbole_darec
from recbole_darec.errors import CheckpointError
from training.killing import Moment, train_until

# Options under which randomness is drawn in every step, six steps an epoch.
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "darec": ("LightGCN", {"edge_keep_rate": 0.8, "align_sample": 50}),
    "none": ("LightGCN", {"edge_keep_rate": 0.8, "align": "none"}),
    "few snapshots": ("LightGCN", {"edge_keep_rate": 0.8, "snapshot_every": 3}),
    "early stop": ("LightGCN", {"learning_rate": 0.05, "stopping_step": 2, "epochs": 60}),
    "SGL": ("SGL", {}),
    "NCL": ("NCL", {"num_clusters": 4, "warm_up_step": 2, "m_step": 3, "proto_reg": 0.01}),
    "AutoCF": ("AutoCF", {"n_seeds": 2, "mask_every": 4}),
    "RecVAE": ("RecVAE", {"align": "none", "epochs": 4}),
}
EPOCHS = 8


def of(name: str) -> tuple[Any, dict[str, Any]]:
    model, changed = RUNS[name]
    return model, {"epochs": EPOCHS, **changed}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("resume")).data_path


@pytest.fixture(scope="module")
def uninterrupted(data_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """What each run comes to when nobody kills it; each is made once."""
    known: dict[str, dict[str, Any]] = {}

    def result(name: str) -> dict[str, Any]:
        if name not in known:
            model, changed = of(name)
            folder = tmp_path_factory.mktemp("whole")
            code, found = in_clean_process(train, folder, str(data_path), changed, model)
            assert code == 0
            known[name] = outcome(found)
        return known[name]

    return result


def kill(name: str, data_path: Path, folder: Path, moment: Moment, resume: bool = False) -> None:
    model, changed = of(name)
    changed["resume"] = resume
    code, _ = in_clean_process(train_until, folder, str(data_path), changed, moment, model)
    assert code == -signal.SIGKILL, f"the run was over before {moment}"


def finish(name: str, data_path: Path, folder: Path) -> dict[str, Any]:
    model, changed = of(name)
    given = {**changed, "resume": True}
    code, found = in_clean_process(train, folder, str(data_path), given, model)
    assert code == 0
    return found


def check(name: str, data_path: Path, folder: Path, expected: dict[str, Any]) -> None:
    found = finish(name, data_path, folder)
    assert outcome(found) == expected
    left = [p.name for p in (folder / "saved").iterdir() if p.suffix != ".pth"]
    assert not [n for n in left if n.endswith(".resume")], "the snapshot outlived its run"


drawn = random.Random(20)
MOMENTS: list[tuple[str, Moment]] = [
    # Before there is anything to continue from; in the middle of an epoch; in the last step.
    ("darec", ("step", 1)),
    ("darec", ("step", 6)),
    *(("darec", ("step", n)) for n in sorted(drawn.sample(range(7, 6 * EPOCHS), 3))),
    ("darec", ("step", 6 * EPOCHS)),
    ("none", ("step", drawn.randrange(7, 6 * EPOCHS))),
    # Right after the first model, the first snapshot, and later ones of both.
    *(("darec", ("written", n)) for n in (1, 2, drawn.randrange(3, 9))),
    ("none", ("written", drawn.randrange(4, 9))),
    # In the middle of writing them.
    *(("darec", ("writing", n)) for n in (1, 2, drawn.randrange(3, 9))),
    # Between training and validation, and in the final test.
    ("darec", ("evaluation", 3)),
    ("darec", ("evaluation", EPOCHS + 1)),
    # With the snapshot of some epochs ago, and a better model than the snapshot knows of.
    *(("few snapshots", ("step", n)) for n in (20, 47)),
    ("few snapshots", ("evaluation", 6)),
    # While the validation score goes down, at its best, and at the end: it stops after 11 epochs.
    *(("early stop", ("evaluation", n)) for n in (6, 8, 10, 12)),
    # Backbones with a state of their own.
    ("SGL", ("step", 20)),
    ("NCL", ("step", 29)),
    ("NCL", ("evaluation", 3)),
    ("AutoCF", ("step", 20)),
    ("RecVAE", ("evaluation", 3)),
]


@pytest.mark.parametrize(
    ("name", "moment"), MOMENTS, ids=[f"{n}-{m[0]}-{m[1]}" for n, m in MOMENTS]
)
def test_a_killed_run_ends_as_the_uninterrupted_one(
    name: str, moment: Moment, data_path: Path, tmp_path: Path, uninterrupted: Callable
) -> None:
    kill(name, data_path, tmp_path, moment)
    check(name, data_path, tmp_path, uninterrupted(name))


def test_a_run_killed_over_and_over_ends_as_the_uninterrupted_one(
    data_path: Path, tmp_path: Path, uninterrupted: Callable
) -> None:
    for number, moment in enumerate([("step", 8), ("writing", 2), ("step", 13), ("written", 1)]):
        kill("darec", data_path, tmp_path, moment, resume=number > 0)
    check("darec", data_path, tmp_path, uninterrupted("darec"))
    models = list((tmp_path / "saved").glob("*.pth"))
    assert len(models) == 1, "a continued run goes on with its own file"
    assert not list((tmp_path / "saved").glob(".*")), "half-written files are swept up"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_run_killed_by_the_clock_ends_as_the_uninterrupted_one(
    share: float, data_path: Path, tmp_path: Path, uninterrupted: Callable
) -> None:
    expected = uninterrupted("darec")
    started = time.monotonic()
    model, changed = of("darec")
    in_clean_process(train, tmp_path / "timed", str(data_path), changed, model)
    seconds = share * (time.monotonic() - started)
    code, found = in_clean_process(
        train_until, tmp_path / "killed", str(data_path), changed, ("time", seconds), model
    )
    # On a machine that has become faster meanwhile, the run may have been over.
    assert code == -signal.SIGKILL or outcome(found) == expected
    check("darec", data_path, tmp_path / "killed", expected)


def test_patience_is_not_renewed_by_an_interruption(
    data_path: Path, tmp_path: Path, uninterrupted: Callable
) -> None:
    best = uninterrupted("early stop")["best_epoch"]
    # In the validation of the second epoch after the best one: one failure is on the count.
    kill("early stop", data_path, tmp_path, ("evaluation", best + 3))
    assert finish("early stop", data_path, tmp_path)["best_epoch"] == best
    logs = sorted((tmp_path / "log" / "LightGCN").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    trained = re.findall(r"epoch (\d+) training", logs[-1].read_text())
    assert [int(epoch) for epoch in trained] == [best + 2, best + 3]


def test_the_uninterrupted_run_is_the_same_without_snapshots(
    data_path: Path, tmp_path: Path, uninterrupted: Callable
) -> None:
    model, changed = of("darec")
    given = {**changed, "snapshot_every": 0}
    code, found = in_clean_process(train, tmp_path, str(data_path), given, model)
    assert code == 0
    assert outcome(found) == uninterrupted("darec")
    assert [p.suffix for p in (tmp_path / "saved").iterdir()] == [".pth"]


def test_the_continued_model_file_holds_the_best_epoch(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill("few snapshots", data_path, tmp_path, ("step", 40))
    found = finish("few snapshots", data_path, tmp_path)
    monkeypatch.chdir(tmp_path)
    content = torch.load(found["model_file"], weights_only=True)
    assert content["epoch"] == found["best_epoch"]
    assert evaluate_checkpoint(found["model_file"])["test"] == found["test_result"]


# ---- the real command -------------------------------------------------------------------------


def test_the_command_killed_and_continued(data_path: Path, tmp_path: Path) -> None:
    args = ["train", "--model=LightGCN", "--dataset=tiny"]
    given = {**options(data_path), "epochs": 60, "stopping_step": 60, "edge_keep_rate": 0.8}
    args += [f"--{name}={value}" for name, value in given.items()]
    process = begin_command(args, tmp_path, environment(), tmp_path)
    try:
        limit = time.monotonic() + 120
        while not list(tmp_path.glob("saved/*.resume")):
            assert process.is_alive(), (tmp_path / "stderr").read_text()[-2000:]
            assert time.monotonic() < limit
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    (snapshot,) = tmp_path.glob("saved/*.resume")
    before = torch.load(snapshot, weights_only=True)["next_epoch"]
    assert 0 < before < 60
    result = run_command([*args, "--resume"], tmp_path, environment())
    assert result.returncode == 0, result.stderr[-2000:]
    assert f"at epoch {before}" in result.stderr
    assert not list(tmp_path.glob("saved/*.resume"))
    trained = [line for line in result.stderr.splitlines() if "training" in line]
    assert len(trained) == 60 - before


# ---- what cannot be continued -----------------------------------------------------------------


@pytest.fixture
def snapshot(data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    kill("darec", data_path, tmp_path, ("step", 20))
    monkeypatch.chdir(tmp_path)
    (file,) = Path("saved").glob("*.resume")
    return file


def resumed(data_path: Path, wanted: Any, model: Any = "LightGCN", **changed: Any) -> dict:
    _, given = of("darec")
    return run_recbole_darec(
        model, "tiny", config_dict=options(data_path, **{**given, "resume": wanted, **changed})
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 0.02}, "other options"),
        ({"align_lambda": 0.2}, "other options"),
        ({"seed": 1}, "other options"),
        ({"epochs": 9}, "other options"),
        ({"num_threads": 1}, "other options"),
        ({"align": "none"}, "holds align 'darec', and this run's is 'none'"),
    ],
)
def test_a_snapshot_of_other_options_is_refused(
    changed: dict[str, Any], message: str, data_path: Path, snapshot: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in Path().rglob("*")}
    with pytest.raises(CheckpointError, match=message):
        resumed(data_path, str(snapshot), **changed)
    assert {p: p.stat().st_mtime_ns for p in Path().rglob("*")} == before


def test_a_snapshot_of_another_model_is_refused(data_path: Path, snapshot: Path) -> None:
    given = options(data_path, resume=str(snapshot))
    with pytest.raises(CheckpointError, match="holds model 'LightGCN', and this run's is 'SGL'"):
        run_recbole_darec("SGL", "tiny", config_dict=given)


def test_a_snapshot_of_other_data_is_refused(
    data_path: Path, snapshot: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_path, other)
    train_file = other / "tiny" / "tiny.train.inter"
    lines = train_file.read_text().splitlines(keepends=True)
    train_file.write_text("".join([*lines[:-1]]))
    with pytest.raises(CheckpointError, match=r"600 interactions.*599 interactions"):
        resumed(other, str(snapshot))


def test_options_without_effect_may_differ(
    data_path: Path, snapshot: Path, uninterrupted: Callable
) -> None:
    changed = {"show_progress": True, "snapshot_every": 2, "state": "ERROR"}
    found = plain_result(resumed(data_path, str(snapshot), **changed))
    assert outcome(found) == uninterrupted("darec")


def test_a_finished_model_is_not_a_snapshot(data_path: Path, snapshot: Path) -> None:
    (model,) = Path("saved").glob("*.pth")
    with pytest.raises(CheckpointError, match=r"finished model.*\.resume"):
        resumed(data_path, str(model))


def test_a_damaged_snapshot_is_refused(data_path: Path, snapshot: Path) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-500])
    for wanted in (str(snapshot), True):
        with pytest.raises(CheckpointError, match="damaged"):
            resumed(data_path, wanted)


def test_resume_without_a_snapshot_starts_at_the_beginning(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    found = plain_result(resumed(data_path, True))
    assert outcome(found) == uninterrupted("darec")
    (log,) = Path("log/LightGCN").iterdir()
    assert "no cut-off run with these options" in log.read_text()


def test_the_newest_of_several_snapshots_is_taken(
    data_path: Path, snapshot: Path, tmp_path: Path, uninterrupted: Callable
) -> None:
    kill("darec", data_path, tmp_path, ("step", 32))
    assert len(list(Path("saved").glob("*.resume"))) == 2
    found = plain_result(resumed(data_path, True))
    assert outcome(found) == uninterrupted("darec")
    logs = sorted(Path("log/LightGCN").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    assert "at epoch 5" in logs[-1].read_text()
    assert list(Path("saved").glob("*.resume")) == [snapshot]

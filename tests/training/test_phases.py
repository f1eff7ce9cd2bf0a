"""Phases of a training: their files, and runs that are killed within or between them."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import in_clean_process, options, outcome, train

from recbole_darec.errors import CheckpointError
from recbole_darec.resolve import resolve
from recbole_darec.run import make_trainer, prepare
from recbole_darec.run import train as train_run
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training import phases
from recbole_darec.training.checkpoint import load_checkpoint, save_checkpoint
from recbole_darec.training.run_state import state_of
from training.killing import Moment, train_until

# Three phases, 4 epochs each: a validation, a best model now and then, a snapshot an epoch.
PAD: dict[str, Any] = {
    "align": "pad",
    "epochs": 4,
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "hidden_dropout_prob": 0.2,
    "train_batch_size": 12,
    "gate_buckets": 4,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_sequences(tmp_path_factory.mktemp("data") / "dataset").data_path)


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole")
    code, result = in_clean_process(train, folder, data, PAD, "SASRec")
    assert code == 0
    return folder, result


def killed(data: str, folder: Path, moment: Moment) -> dict[str, Any] | None:
    """Kill a run at a moment and resume it; None where it was over before."""
    code, _ = in_clean_process(train_until, folder, data, PAD, moment, "SASRec")
    if code == 0:
        return None
    assert code == -signal.SIGKILL
    left = {path.suffix for path in (folder / "saved").iterdir()}
    if epochs_in(folder) == 12 and ".resume" not in left:
        return None  # tested and over, but for its answer
    code, found = in_clean_process(train, folder, data, {**PAD, "resume": True}, "SASRec")
    assert code == 0
    return found


def test_each_phase_leaves_its_best_model_and_no_snapshot(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = whole
    names = sorted(path.name for path in (folder / "saved").iterdir())
    stem = Path(result["model_file"]).stem
    assert names == sorted([f"{stem}.pth", f"{stem}.pretrain.pth", f"{stem}.align.pth"])
    numbers = [
        int(load_checkpoint(folder / "saved" / name)["state_dict"]["phase_number"])
        for name in (f"{stem}.pretrain.pth", f"{stem}.align.pth", f"{stem}.pth")
    ]
    assert numbers == [0, 1, 2]


# A snapshot at each of epochs 1 to 3, one at a boundary, and best models between them.
@pytest.mark.parametrize("moment", [("step", 27), ("written", 7), ("writing", 9), ("written", 13)])
def test_a_killed_run_ends_as_the_uninterrupted_one(
    data: str, whole: tuple[Path, dict[str, Any]], moment: Moment, tmp_path: Path
) -> None:
    found = killed(data, tmp_path / "killed", moment)
    assert outcome(found) == outcome(whole[1])


def test_a_phase_has_a_rate_a_decay_and_a_length_of_its_own(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {
        "phase_learning_rate": [0.001, 0.002, 0.003],
        "phase_weight_decay": [0.0, 0.1, 0.2],
        "phase_epochs": [1, 3, 2],
        "phase_stopping_step": [4, 5, 6],
        "learner": "adamw",
    }
    run = prepare(resolve("SASRec", "tiny", None, options(Path(data), **PAD, **own)))
    trainer = make_trainer(run)
    trained = []
    step = trainer.model.calculate_loss

    def noted(*args: Any) -> Any:
        groups = trainer.optimizer.param_groups
        lengths = trainer.epochs, trainer.stopping_step
        trained.append((trainer.phases.name, groups[0]["lr"], groups[0]["weight_decay"], *lengths))
        if trainer.phases.name == "tune":
            gate = trainer.model.aligner.modules["gate"].logits
            assert [p is gate for p in groups[1]["params"]] == [True]
            assert (groups[1]["lr"], groups[1]["weight_decay"]) == (0.003, 0.0)
        return step(*args)

    trainer.model.calculate_loss = noted
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    steps = len(run.train_data)
    expected = [
        ("pretrain", 0.001, 0.0, 1, 4),
        ("align", 0.002, 0.1, 3, 5),
        ("tune", 0.003, 0.2, 2, 6),
    ]
    assert trained == [one for one in expected for _ in range(one[3] * steps)]


def test_a_phase_that_does_not_rank_keeps_the_epoch_of_the_smallest_loss(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {**PAD, "pad_anchor": "without", "phase_epochs": [1, 6, 1], "stopping_step": 50}
    given["expert_dropout"] = 0.8
    run = prepare(resolve("SASRec", "tiny", None, options(Path(data), **given)))
    trainer = make_trainer(run)
    losses: list[float] = []
    epoch = trainer._train_epoch

    def noted(*args: Any, **kwargs: Any) -> Any:
        found = epoch(*args, **kwargs)
        if trainer.phases.name == "align":
            losses.append(sum(found))
        return found

    trainer._train_epoch = noted
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    best = load_checkpoint(Path(trainer.phases.model_file).with_suffix(".align.pth"))
    assert len(losses) == 6
    assert best["epoch"] == losses.index(min(losses))
    assert best["best_valid_result"] == {"train_loss": min(losses)}


def test_a_first_phase_is_shared(
    data: str, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, result = whole
    shared = (folder / result["model_file"]).with_suffix(".pretrain.pth")
    changed = {**PAD, "pretrained": str(shared)}
    code, found = in_clean_process(train, tmp_path / "shared", data, changed, "SASRec")
    assert code == 0
    assert outcome(found) == outcome(whole[1])
    assert not list((tmp_path / "shared" / "saved").glob("*.pretrain.pth"))


def test_the_backbone_alone_trains_the_first_phase(
    data: str, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, result = whole
    own = (folder / result["model_file"]).with_suffix(".pretrain.pth")
    plain = {name: value for name, value in PAD.items() if name != "gate_buckets"}
    code, found = in_clean_process(train, tmp_path, data, {**plain, "align": "none"}, "SASRec")
    assert code == 0
    alone, first = (load_checkpoint(path) for path in (tmp_path / found["model_file"], own))
    assert alone["epoch"] == first["epoch"]
    assert alone["best_valid_result"] == first["best_valid_result"]
    for name, value in alone["state_dict"].items():
        assert torch.equal(value, first["state_dict"][name]), name


def test_over_tables_in_blocks_it_is_trained_here(
    data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Their sparse gradients are summed in another way than the backbone's own."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    given = {**PAD, "align": "smem", "epochs": 1}
    plain = {name: value for name, value in given.items() if name != "gate_buckets"}
    alone = Path(train(data, {**plain, "align": "none"}, "SASRec")["model_file"])
    settings = resolve("SASRec", "tiny", None, options(Path(data), **given))
    for large in (False, True):
        caplog.clear()
        monkeypatch.setattr(phases, "is_large", lambda table, large=large: large)
        train_run(settings, first_phase=alone)
        assert ("taken from" in caplog.text) != large
        assert ("the phase is trained here" in caplog.text) == large


def test_a_first_phase_that_does_not_fit_is_refused(
    data: str, whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, result = whole
    last = folder / result["model_file"]
    first = last.with_suffix(".pretrain.pth")
    for path, model, changed, message in (
        (last, "SASRec", {}, "is no first phase"),
        (first, "SASRec", {"hidden_size": 4}, "is of another shape"),
        (first, "GRU4Rec", {}, "is of another backbone"),
        (first, "SASRec", {"align": "hybrid"}, "no phase that it could stand for"),
    ):
        given = {k: v for k, v in PAD.items() if model == "SASRec" or k in ("align", "epochs")}
        given = {**given, **changed, "pretrained": str(path)}
        if given["align"] == "hybrid":
            given.pop("gate_buckets")
        with pytest.raises(CheckpointError, match=message):
            train(data, given, model)
    assert not (tmp_path / "saved").exists() or not list((tmp_path / "saved").iterdir())


def test_a_file_of_other_phases_or_of_other_data_is_refused(
    data: str, whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = prepare(resolve("SASRec", "tiny", None, options(Path(data), **PAD)))
    trainer = make_trainer(run)
    save_checkpoint(state_of(trainer, run.train_data, 1), tmp_path / "a.resume")
    with pytest.raises(CheckpointError, match="was made with other options than this run's"):
        train(data, {**PAD, "pad_anchor": "none", "resume": "a.resume"}, "SASRec")
    other = write_tiny_sequences(tmp_path / "other")
    lines = (other.folder / "tiny.inter").read_text("utf-8").splitlines(keepends=True)
    (other.folder / "tiny.inter").write_text("".join(lines[:-1]), "utf-8")
    folder, result = whole
    first = (folder / result["model_file"]).with_suffix(".pretrain.pth")
    with pytest.raises(CheckpointError, match="is of another data set than this run's"):
        train(str(other.data_path), {**PAD, "pretrained": str(first)}, "SASRec")
    assert not (tmp_path / "saved").exists() or not list((tmp_path / "saved").iterdir())


def moments(rng: random.Random) -> list[Moment]:
    """Forty moments anywhere, and ten within 50 ms of a phase's end, on either side of it."""
    kinds = [("step", 60), ("written", 20), ("writing", 20), ("evaluation", 12)]
    anywhere = [(kind, rng.randint(1, most)) for kind, most in rng.choices(kinds, k=40)]
    after = [("end", phase + rng.uniform(0.0, 0.05)) for phase in (1, 1, 2, 2, 3, 3)]
    before = [("evaluation", number) for number in (4, 8, 12)]  # a phase's last one takes 20 ms
    return [*anywhere, *after, *before, ("step", 20)]  # the last of the first phase's


def epochs_in(folder: Path) -> int:
    """How many epochs the runs in a folder have trained to their end."""
    logs = [path.read_text("utf-8") for path in folder.rglob("*.log")]
    return sum(len(re.findall(r"epoch \d+ training", text)) for text in logs)


@pytest.mark.slow
def test_fifty_random_moments(
    data: str, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert epochs_in(whole[0]) == 12
    killed_at = []
    for number, moment in enumerate(moments(random.Random(0))):
        folder = tmp_path / str(number)
        found = killed(data, folder, moment)
        if found is not None:
            killed_at.append(moment)
            assert outcome(found) == outcome(whole[1]), moment
            # The epoch that was cut off is trained again, and the one whose snapshot was.
            assert 12 <= epochs_in(folder) <= 13, moment
            names = {path.name.split(".", 1)[1] for path in (folder / "saved").iterdir()}
            assert names == {"pth", "pretrain.pth", "align.pth"}, moment
    assert len(killed_at) >= 42

"""Real workers and drivers that are killed around a phase that other runs of the study wait for."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from warm import begin

from recbole_darec.studies.outcome import FIRST_PHASE
from recbole_darec.studies.processes import LOG
from recbole_darec.studies.results import open_results
from recbole_darec.studies.runner import run_study
from recbole_darec.studies.study import read_study
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from studies.killed import CHANGES, ForkedWorkers, Moment, drive

# Three runs begin alike: the first to be done trains what the others take.
STUDY: dict[str, Any] = {
    "name": "tiny",
    "datasets": ["tiny"],
    "backbones": {
        "SASRec": {
            "hidden_size": 8, "inner_size": 8, "n_layers": 1, "hidden_dropout_prob": 0.2,
        }
    },
    "aligners": {"pad": {"gate_buckets": 4}, "smem": {"gate_buckets": 4},
                 "hybrid": {"expert_init": "pretrained"}},
    "base": "pad",
    "seeds": [1],
    "common": {
        "epochs": 2, "train_batch_size": 16, "learning_rate": 0.01, "eval_mask": "history_all",
        "MAX_ITEM_LIST_LENGTH": 6, "metrics": ["Hit", "NDCG"], "topk": [5],
    },
    "metric": "NDCG@5",
    "report": ["ndcg@5"],
}  # fmt: skip


@dataclass
class Found:
    """What a study has come to.

    Attributes:
        rows: of the store, by aligner: all that came of a run but its times.
        epochs: how many were trained, by all processes.
        taken: how often a first phase was taken.
    """

    rows: dict[str, str]
    epochs: int
    taken: int


def write(folder: Path) -> None:
    write_tiny_sequences(folder / "dataset")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False), "utf-8")


def run(executor: ForkedWorkers) -> None:
    with open_results(Path("results.sqlite")) as store:
        assert run_study(read_study("study.yaml"), store, executor, Path("runs").resolve()) == []


def found(folder: Path) -> Found:
    rows = {}
    with open_results(folder / "results.sqlite") as store:
        for row in store.rows().values():
            curve = [
                {name: value for name, value in epoch.items() if not name.endswith("seconds")}
                for epoch in store.curve(row)
            ]
            users = {name: list(map(float, v)) for name, v in (store.users(row) or {}).items()}
            rows[row.align] = json.dumps(
                [row.state, row.reason, row.valid, row.test, row.best_epoch, curve, users]
            )
    logs = [path.read_text("utf-8") for path in (folder / "runs").glob(f"*/{LOG}")]
    epochs = sum(len(re.findall(r"epoch \d+ training", text)) for text in logs)
    return Found(rows, epochs, sum(text.count("taken from") for text in logs))


def is_as(whole: Found, folder: Path) -> None:
    """Every row is there as in a study that nobody disturbed, and no finished phase came again."""
    here = found(folder)
    assert here.rows == whole.rows
    # The epoch that was cut off is trained again, or the last one, of a run that was not told of.
    assert whole.epochs <= here.epochs <= whole.epochs + 1
    left = {path.name for path in (folder / "runs").glob("*/*")} - {LOG, CHANGES, ".lock"}
    assert left == set()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    folder = tmp_path_factory.mktemp("whole")
    write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(ForkedWorkers())
    done = found(folder)
    assert set(done.rows) == {"pad", "smem", "hybrid"}
    # Three phases, two and two; one of two epochs is trained once and taken twice.
    assert (done.epochs, done.taken) == (2 * (3 + 1 + 1), 2)
    return folder, done


def changes(whole: tuple[Path, Found], align: str) -> list[str]:
    """What the worker of a run wrote and removed, in its order."""
    folder, _ = whole
    with open_results(folder / "results.sqlite") as store:
        (key,) = (row.key for row in store.rows().values() if row.align == align)
    return (folder / "runs" / key / CHANGES).read_text().split()


def killed_workers(whole: Found, here: Path, moments: dict[str, list[Moment]]) -> None:
    executor = ForkedWorkers({align: list(several) for align, several in moments.items()})
    run(executor)
    assert executor.killed == [align for align, several in moments.items() for _ in several]
    is_as(whole, here)


def test_a_worker_killed_where_the_phase_is_just_written(
    whole: tuple[Path, Found], here: Path
) -> None:
    killed_workers(whole[1], here, {"pad": [(FIRST_PHASE, 1)]})


@pytest.mark.slow
@pytest.mark.parametrize("align", ["pad", "smem"])
def test_a_worker_killed_after_each_change_of_a_file(
    align: str, whole: tuple[Path, Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the run that trains the phase, and of one that takes it."""
    names = changes(whole, align)
    assert len(names) > 5
    for number in range(1, len(names) + 1):
        folder = tmp_path / str(number)
        write(folder)
        monkeypatch.chdir(folder)
        killed_workers(whole[1], folder, {align: [(None, number)]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("model.*.resume", 0),  # the phase is under way
        ("model.pretrain.pth", 0),  # it has a best model
        ("model.align.pth", 0),  # it is over, and its run is not
        (FIRST_PHASE, 0),  # it is there for the others, or its run's outcome is
        ("ending", 1),
        ("ended", 1),
        ("starting", 2),
        ("started", 2),  # the first that takes it
        ("ended", 2),
    ],
)
def test_a_driver_killed(at: str, number: int, whole: tuple[Path, Found], here: Path) -> None:
    """Its worker ends with it, or hands the run over."""
    driver = begin(drive, str(here), at, number)
    driver.join(240)
    assert driver.exitcode == -signal.SIGKILL
    again = begin(drive, str(here), None)
    again.join(240)
    assert again.exitcode == 0
    is_as(whole[1], here)

"""A first phase that several runs of a study have in common is trained by one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from recbole_darec.run import train
from recbole_darec.studies import worker
from recbole_darec.studies.outcome import FIRST_PHASE, Outcome, Taken, Task, leave, seconds_of
from recbole_darec.studies.resolved import Resolved, Resolver
from recbole_darec.studies.results import Row, Store, open_results
from recbole_darec.studies.runner import run_study
from recbole_darec.studies.study import Method, Study, Trial, read_study
from recbole_darec.studies.worker import done
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from studies.in_this_process import InThisProcess

SMALL: dict[str, Any] = {
    "epochs": 3,
    "train_batch_size": 16,
    "learning_rate": 0.01,
    "eval_mask": "history_all",
    "MAX_ITEM_LIST_LENGTH": 6,
    "metrics": ["Hit", "NDCG"],
    "topk": [5],
}
SASREC = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "hidden_dropout_prob": 0.2}
THREE = {"gate_buckets": 4}
START = {"expert_init": "pretrained"}
# Every method that can begin with the backbone by itself.
BEGIN: dict[str, dict[str, Any]] = {
    "pad": THREE,
    "smem": THREE,
    "hybrid": START,
    "morec": START,
    "ctrl": START,
    "make": {**START, **THREE},
    "disco": START,
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """``write(key=value)``: a study of sequences, in a working folder with its data."""
    monkeypatch.chdir(tmp_path)
    write_tiny_sequences(tmp_path / "dataset")

    def written(**changed: Any) -> Study:
        content = {
            "name": "tiny",
            "datasets": ["tiny"],
            "backbones": {"SASRec": SASREC},
            "aligners": {"pad": THREE, "smem": THREE},
            "base": "pad",
            "seeds": [1],
            "common": SMALL,
            "metric": "NDCG@5",
            "report": ["ndcg@5"],
            **changed,
        }
        Path("study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        return read_study("study.yaml")

    return written


# ---- which first phases are one ----------------------------------------------------------------


class Digests:
    """What runs on the tiny sequences have in common."""

    def __init__(self, folder: Path) -> None:
        write_tiny_sequences(folder / "dataset")
        self._resolver = Resolver(folder, lambda path: path.name)

    def of(self, align: str, model: str = "SASRec", seed: int = 1, **given: Any) -> Resolved:
        found = self._resolver.resolved(
            Trial(
                Method("tiny", model, align, options={**SMALL, "valid_metric": "NDCG@5", **given}),
                seed,
            )
        )
        assert found.fault is None
        return found


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> Digests:
    return Digests(tmp_path_factory.mktemp("digests"))


@pytest.fixture(autouse=True)
def _where_the_data_are(digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(digests._resolver._folder)


@pytest.mark.parametrize("align", BEGIN)
def test_a_plain_phase_is_the_training_of_the_backbone_alone(align: str, digests: Digests) -> None:
    plain = digests.of("none")
    assert plain.trains_plainly
    assert plain.first_phase == ""
    assert digests.of(align, **BEGIN[align]).first_phase == plain.training


@pytest.mark.parametrize("align", ["hybrid", "morec", "ctrl", "make", "disco", "darec"])
def test_a_method_that_begins_by_itself_shares_nothing(align: str, digests: Digests) -> None:
    assert digests.of(align).first_phase == ""


def test_a_phase_that_a_file_stands_for_is_not_shared(digests: Digests) -> None:
    assert digests.of("pad", pretrained="some.pretrain.pth").first_phase == ""


@pytest.mark.parametrize(
    "later",
    [
        {"pad_gamma": 0.5},
        {"pad_kernel": "laplace"},
        {"pad_rows": 8},
        {"pad_anchor": "none"},
        {"pad_anchor": "frozen"},
        {"pad_experts": ["id", "llm"]},
        {"gate_align_start": 0.0},
        {"gate_buckets": 4},
        {"expert_gate": "none"},
        {"expert_layers": 1},
        {"expert_dropout": 0.5},
        {"profile_control": "shuffle"},
        {"profile_control": "random", "profile_control_seed": 3},
        {"profile_components": 4},
        {"phase_learning_rate": [0.01, 0.1, 0.2]},
        {"phase_epochs": [3, 1, 2]},
        {"phase_stopping_step": [10, 1, 2]},
        {"phase_weight_decay": [0.0, 0.1, 0.2]},
        {"result_buckets": 3},
    ],
    ids=str,
)
def test_what_later_phases_read_splits_no_first_phase(
    later: dict[str, Any], digests: Digests
) -> None:
    given = {"weight_decay": 0.0, "stopping_step": 10}
    found = digests.of("pad", **{**given, **later})
    assert found.first_phase == digests.of("pad", **given).first_phase
    assert found.key != digests.of("pad", **given).key or later == {"result_buckets": 3}


@pytest.mark.parametrize(
    "first",
    [
        {"seed": 2},
        {"learning_rate": 0.02},
        {"weight_decay": 0.1},
        {"learner": "adamw"},
        {"clip_grad_norm": {"max_norm": 1.0}},
        {"epochs": 4},
        {"stopping_step": 1},
        {"eval_step": 2},
        {"train_batch_size": 8},
        {"rank_loss": "ce"},
        {"training_rows": "prefixes"},
        {"MAX_ITEM_LIST_LENGTH": 4},
        {"eval_mask": "none"},
        {"valid_metric": "Hit@5"},
        {"hidden_size": 16},
        {"inner_size": 16},
        {"n_layers": 1},
        {"n_heads": 1},
        {"hidden_dropout_prob": 0.1},
        {"attn_dropout_prob": 0.1},
        {"initializer_range": 0.1},
        {"num_threads": 2},
        {"diagnostics": True},
        {"phase_learning_rate": [0.02, 0.01, 0.01]},
        {"phase_epochs": [4, 3, 3]},
        {"phase_stopping_step": [1, 10, 10]},
        {"phase_weight_decay": [0.1, 0.0, 0.0]},
        {"model": "GRU4Rec"},
    ],
    ids=str,
)
def test_what_the_first_phase_reads_splits_it(first: dict[str, Any], digests: Digests) -> None:
    assert digests.of("pad", **first).first_phase != digests.of("pad").first_phase


def test_a_phase_of_its_own_length_and_rate_is_a_run_of_these(digests: Digests) -> None:
    own = {"phase_learning_rate": [0.02, 0.1, 0.1], "phase_epochs": [7, 1, 1]}
    plain = digests.of("none", learning_rate=0.02, epochs=7)
    assert digests.of("pad", **own).first_phase == plain.training


def test_a_backbone_with_terms_of_its_own_is_no_plain_phase(digests: Digests) -> None:
    """Caser adds L2 terms to its loss, which experts leave out; two methods begin alike."""
    pad, smem = (digests.of(align, "Caser").first_phase for align in ("pad", "smem"))
    assert pad == smem != digests.of("none", "Caser").training


# ---- who trains it, and for how long it stays --------------------------------------------------


class Pretended:
    """Does nothing, and leaves what a worker would leave.

    Args:
        on_start: is asked first; returns a reason where the run is to fail.
        places: tasks at a time.
    """

    def __init__(
        self, on_start: Callable[[Task], str | None] | None = None, places: int = 1
    ) -> None:
        self.begun: list[Task] = []
        self._open: list[Task] = []
        self._on_start = on_start or (lambda task: None)
        self._places = places

    def free(self) -> int:
        return self._places - len(self._open)

    def start(self, task: Task) -> None:
        self.begun.append(task)
        self._open.append(task)

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        task = self._open.pop(0)
        if reason := self._on_start(task):
            return [(task, Outcome("failed", reason))]
        folder = Path(task.folder)
        folder.mkdir(parents=True, exist_ok=True)
        took = task.taken is not None and Path(task.taken.file).is_file()
        if task.keep_phase and not took:
            (folder / FIRST_PHASE).write_text("a phase")
        model = folder / "model.pth"
        if task.keep_model:
            model.write_text("a model")
        score = {"ndcg@5": 0.5 + len(self.begun) / 1000, "hit@5": 0.5}
        curve = [
            {"epoch": 0, "seconds": 2.0, "valid": 0.1, "valid_seconds": 1.0},
            {"epoch": 1, "seconds": 20.0, "phase": 1},
        ]
        seconds = 100.0 + (0.0 if task.taken is None else task.taken.seconds)
        kept = str(model) if task.keep_model else None
        return [(task, Outcome("done", None, score, score, curve=curve, seconds=seconds,
                               model_file=kept))]  # fmt: skip

    def close(self) -> None:
        self._open.clear()

    def told(self) -> list[tuple[str, bool]]:
        """The tasks as aligner and whether it took its first phase."""
        return [(task.align, task.taken is not None) for task in self.begun]


def run(study: Study, executor: Any, path: str = "results.sqlite") -> dict[str, Row]:
    with open_results(Path(path)) as store:
        run_study(study, store, executor, Path("runs"))
        return store.rows()


def test_the_backbone_alone_goes_first_and_the_others_take_it(write: Callable[..., Study]) -> None:
    study = write(aligners={"pad": THREE, "none": {}, "smem": THREE, "darec": {}})
    executor = Pretended(places=4)
    run(study, executor)
    assert executor.told() == [("none", False), ("darec", False), ("pad", True), ("smem", True)]
    assert [task.keep_model for task in executor.begun] == [True, False, False, False]
    assert [task.keep_phase for task in executor.begun[2:]] == [True, True]
    taken = executor.begun[2].taken
    assert taken is not None
    assert (taken.whole, taken.seconds, len(taken.curve)) == (False, 3.0, 1)
    assert not list(Path("runs").rglob("*.pth"))


def test_without_it_the_first_to_be_done_trains_for_all(write: Callable[..., Study]) -> None:
    """Three places, and one run at a time is begun: the others wait for its phase."""
    variants = {"shuffled": {"align": "pad", "set": {"profile_control": "shuffle"}}}
    executor = Pretended(places=3)
    run(write(variants=variants, seeds=[1, 2]), executor)
    assert [align for align, took in executor.told() if not took] == ["pad", "pad"]
    assert [align for align, took in executor.told() if took] == ["pad", "smem", "pad", "smem"]
    assert not list(Path("runs").rglob("*.pth"))


def test_a_search_over_what_later_phases_read_trains_the_first_once(
    write: Callable[..., Study],
) -> None:
    space = {
        "SASRec": {"learning_rate": [0.01, 0.02]},
        "pad": {"pad_gamma": [0.1, 0.2]},
        "smem": {},
    }
    executor = Pretended()
    study = write(tune={"trials": 4, "seed": 1, "space": space})
    rows = run(study, executor)
    # Four settings of pad with two rates, two of smem with the same rates; then the table's runs
    # are among them, and of their options, so that none is left.
    assert executor.told().count(("pad", False)) == 2
    assert executor.told().count(("pad", True)) == 2
    assert executor.told().count(("smem", True)) == 2
    assert len(rows) == len(executor.begun) == 6
    assert not list(Path("runs").rglob("*.pth"))


def test_a_phase_is_kept_no_longer_than_somebody_is_to_take_it(write: Callable[..., Study]) -> None:
    there: list[tuple[str, int]] = []

    def looks(task: Task) -> None:
        there.append((task.align, len(list(Path("runs").rglob("*.pth")))))

    aligners = {"pad": THREE, "smem": THREE, "hybrid": START, "morec": {}}
    run(write(aligners=aligners), Pretended(looks))
    assert there == [("pad", 0), ("smem", 1), ("hybrid", 1), ("morec", 0)]


def test_a_failed_run_hands_nothing_on(write: Callable[..., Study]) -> None:
    aligners = {"none": {}, "pad": THREE, "smem": THREE, "hybrid": START}
    executor = Pretended(lambda task: "no room" if task.align in ("none", "pad") else None)
    rows = run(write(aligners=aligners, base="none"), executor)
    assert executor.told() == [("none", False), ("pad", False), ("smem", False), ("hybrid", True)]
    assert sorted(row.state for row in rows.values()) == ["done", "done", "failed", "failed"]


def test_a_file_that_is_gone_is_trained_again_once(write: Callable[..., Study]) -> None:
    def gone(task: Task) -> None:
        if task.align == "smem":
            for path in Path("runs").rglob(FIRST_PHASE):
                path.unlink()

    aligners = {"pad": THREE, "smem": THREE, "hybrid": START, "disco": START}
    executor = Pretended(gone)
    run(write(aligners=aligners), executor)
    # smem was told of the file, and trains where there is none; the others have its phase.
    assert [task.align for task in executor.begun] == ["pad", "smem", "hybrid", "disco"]
    files = [task.taken and Path(task.taken.file).parent.name for task in executor.begun]
    assert files == [None, executor.begun[0].key, executor.begun[1].key, executor.begun[1].key]


def test_a_driver_that_is_killed_goes_on_with_what_there_is(write: Callable[..., Study]) -> None:
    """Killed with smem under way: the phase of pad is still there, and taken."""

    class Killed(Pretended):
        def ended(self) -> list[tuple[Task, Outcome | str]]:
            if self._open[0].align == "smem":
                raise KeyboardInterrupt
            return super().ended()

    study = write(aligners={"pad": THREE, "smem": THREE, "hybrid": START})
    with pytest.raises(KeyboardInterrupt):
        run(study, Killed())
    with open_results(Path("results.sqlite")) as store:
        for key, row in store.rows().items():  # as a SIGKILL leaves it
            if row.align == "smem":
                store.set_state(key, "running")
    assert len(list(Path("runs").rglob(FIRST_PHASE))) == 1
    executor = Pretended()
    run(study, executor)
    assert sorted(executor.told()) == [("hybrid", True), ("smem", True)]
    assert not list(Path("runs").rglob("*.pth"))


def test_a_task_says_what_is_taken_on_its_line() -> None:
    taken = Taken("a.pth", 3.0, [{"epoch": 0}], whole=False)
    task = Task("k", "SASRec", "tiny", "pad", {}, "f", False, keep_phase=True, taken=taken)
    assert Task.of_text(task.as_text()) == task
    assert "\n" not in task.as_text()


# ---- what comes of it --------------------------------------------------------------------------


def test_a_run_that_is_cut_off_has_the_phase_that_it_took(
    write: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its second phase, it goes on from there, though the file is gone by then."""
    home = Path.cwd()
    study = write(common={**SMALL, "epochs": 1})
    (method, _) = study.methods()
    settings = Resolver(home, lambda path: path.name).settings(Trial(method, 1))

    def task(name: str, taken: Taken | None = None, *, keep: bool = False) -> Task:
        folder = home / name
        folder.mkdir(exist_ok=True)
        return Task("k", "SASRec", "tiny", "pad", settings.values, str(folder), False, keep,
                    taken=taken)  # fmt: skip

    def worked(task: Task) -> Outcome:
        outcome = done(task)
        leave(outcome, Path(task.folder))
        return outcome

    whole = worked(task("whole", keep=True))
    assert sorted(path.name for path in (home / "whole").glob("*.pth")) == [FIRST_PHASE]
    file = home / "whole" / FIRST_PHASE
    curve = [epoch for epoch in whole.curve if "phase" not in epoch]
    taken = Taken(str(file), 5000.0, curve, whole=False)

    class CutOffError(BaseException):
        pass

    def cut_off(*args: Any, watch: Any, **kwargs: Any) -> Any:
        def trained(*_: Any) -> None:
            raise CutOffError

        watch.trained = trained
        return train(*args, watch=watch, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "train", cut_off)
        with pytest.raises(CutOffError):
            done(task("cut", taken))
    file.write_bytes(b"half a file")
    again = worked(task("damaged", taken, keep=True))
    assert (again.test, again.valid) == (whole.test, whole.valid)
    assert again.seconds is not None
    assert again.seconds < 5000.0
    assert (home / "damaged" / FIRST_PHASE).is_file()
    file.unlink()
    found = worked(task("cut", taken))
    assert (found.test, found.valid) == (whole.test, whole.valid)
    assert [(e["epoch"], e.get("phase", 0), e["losses"]) for e in found.curve] == [
        (e["epoch"], e.get("phase", 0), e["losses"]) for e in whole.curve
    ]
    assert found.seconds is not None
    assert found.seconds > sum(map(seconds_of, curve))
    assert not any("taken" in epoch for epoch in found.curve)
    assert not list((home / "cut").glob("*.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["bce", "bpr", "ce"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_shared_or_not_the_results_are_the_same_to_the_bit(
    model: str, loss: str, write: Callable[..., Study], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options = {
        "SASRec": SASREC,
        "GRU4Rec": {"embedding_size": 8, "hidden_size": 8},
        "Caser": {"embedding_size": 8, "dropout_prob": 0.2},
    }
    begin = BEGIN if model != "Caser" else {align: BEGIN[align] for align in ("pad", "smem")}
    aligners = {"none": {}, **begin}
    common = {**SMALL, "rank_loss": loss, "weight_decay": 0.01}
    shared = write(backbones={model: options[model]}, aligners=aligners, base="none", common=common)
    executor = InThisProcess()
    found: dict[str, dict[str, Any]] = {"shared": {}, "each": {}}
    with open_results(Path("shared.sqlite")) as store:
        run_study(shared, store, executor, Path("runs").resolve())
        found["shared"] = {row.align: told(store, row) for row in store.rows().values()}
    # Caser's own L2 terms are no part of a phase over experts.
    assert trained(caplog) == (1 if model == "Caser" else 0)
    assert caplog.text.count("taken from") == len(begin) - trained(caplog)
    assert not list(Path("runs").rglob("*.pth"))
    caplog.clear()
    for align in aligners:  # each in a study of its own
        alone = write(backbones={model: options[model]}, aligners={align: aligners[align]},
                      base=align, common=common)  # fmt: skip
        with open_results(Path(f"{align}.sqlite")) as store:
            run_study(alone, store, InThisProcess(), Path("each").resolve() / align)
            found["each"] |= {row.align: told(store, row) for row in store.rows().values()}
    assert "taken from" not in caplog.text
    assert trained(caplog) == len(begin)
    assert found["shared"] == found["each"]


def told(store: Store, row: Row) -> str:
    """All that came of a run but the times, as text."""
    assert row.state == "done", row.reason
    users = store.users(row)
    assert users is not None
    curve = [
        {name: value for name, value in epoch.items() if not name.endswith("seconds")}
        for epoch in store.curve(row)
    ]
    rows = {name: np.asarray(values).tolist() for name, values in users.items()}
    return json.dumps([row.valid, row.test, row.best_epoch, curve, rows], sort_keys=True)


def trained(caplog: pytest.LogCaptureFixture) -> int:
    """How often a plain first phase was begun."""
    return sum(record.getMessage().endswith(": pretrain") for record in caplog.records) - (
        caplog.text.count("taken from")
    )

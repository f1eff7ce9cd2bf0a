"""Checkpoints: plain, whole or not there, never two under one name."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from tiny_runs import in_clean_process, options, outcome, plain_result, prepared

from recbole_darec import evaluate_checkpoint, load_data_and_model, run_recbole_darec
from recbole_darec.errors import CheckpointError, UserError
from recbole_darec.training import checkpoint
from recbole_darec.training.checkpoint import (
    checkpoint_name,
    from_plain,
    load_checkpoint,
    plain,
    save_checkpoint,
)

ONE_SECOND = SimpleNamespace(strftime=lambda _: "Jan-01-2024_00-00-00")


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


def only_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, (str, int)) and only_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(only_plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


# ---- what a run leaves ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "align"), [("LightGCN", "darec"), ("LightGCN", "none"), ("EASE", "none")]
)
def test_a_runs_checkpoint_holds_plain_values_only(model: str, align: str, data_path: Path) -> None:
    result = run_recbole_darec(model, "tiny", config_dict=options(data_path, align=align))
    content = torch.load(result["model_file"], weights_only=True)
    assert only_plain(content)
    assert content["model"] == model
    assert content["epoch"] == result["best_epoch"]
    assert content["best_valid_score"] == result["best_valid_score"]
    assert content["best_valid_result"] == dict(result["best_valid_result"])


def test_a_snapshot_holds_plain_values_only(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain_save = checkpoint.save_checkpoint

    def watched(content: Any, path: Path) -> None:
        plain_save(content, path)
        if path.suffix == ".resume":
            seen.append(torch.load(path, weights_only=True))

    monkeypatch.setattr("recbole_darec.training.snapshots.save_checkpoint", watched)
    run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, epochs=3))
    assert [content["next_epoch"] for content in seen] == [1, 2]
    assert all(map(only_plain, seen))


def test_metrics_after_loading_are_the_runs_here_and_in_another_process(
    data_path: Path, tmp_path: Path
) -> None:
    result = plain_result(
        run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, epochs=4))
    )
    expected = {"valid": result["best_valid_result"], "test": result["test_result"]}
    assert evaluate_checkpoint(result["model_file"]) == expected
    file = str(Path(result["model_file"]).resolve())
    code, elsewhere = in_clean_process(evaluate_checkpoint, tmp_path / "elsewhere", file)
    assert code == 0
    assert elsewhere == expected


@pytest.mark.parametrize("mask", ["train", "train_valid"])
def test_a_checkpoint_can_be_evaluated_under_another_mask(mask: str, data_path: Path) -> None:
    given = options(data_path, epochs=3)
    trained = run_recbole_darec("LightGCN", "tiny", config_dict=given)
    other = run_recbole_darec("LightGCN", "tiny", config_dict={**given, "eval_mask": mask})
    found = evaluate_checkpoint(trained["model_file"], {"eval_mask": mask, "eval_batch_users": 7})
    assert found["test"] == pytest.approx(other["test_result"], abs=1e-12)


def test_ranking_needs_no_profiles(data_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    for file in (data_path / "tiny").glob("*emb*"):
        file.unlink()
    assert evaluate_checkpoint(result["model_file"])["test"] == dict(result["test_result"])
    assert "without its aligner" in caplog.text
    assert type(load_data_and_model(result["model_file"])[1]).__name__ == "LightGCN"


def test_options_of_other_models_in_a_users_file_do_not_hinder_loading(data_path: Path) -> None:
    Path("mine.yaml").write_text("ssl_tau: 0.2\nn_layers: 1\nmlp_hidden_size: [8]\n")
    result = run_recbole_darec("LightGCN", "tiny", ["mine.yaml"], options(data_path))
    assert load_data_and_model(result["model_file"])[0]["n_layers"] == 2


def test_an_unknown_option_of_an_evaluation_is_refused(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    with pytest.raises(UserError, match="eval_mask"):
        evaluate_checkpoint(result["model_file"], {"eval_mask": "test"})
    with pytest.raises(UserError, match=r"eval_masks.*did you mean"):
        evaluate_checkpoint(result["model_file"], {"eval_masks": "train"})


def test_changed_data_are_noticed(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    train = data_path / "tiny" / "tiny.train.inter"
    header, first, *rest = train.read_text().splitlines(keepends=True)
    user = first.split("\t")[0]
    swapped = next(line for line in rest if not line.startswith(user)).split("\t")[1]
    train.write_text(header + f"{user}\t{swapped}" + "".join(rest))
    with pytest.raises(CheckpointError, match="was trained on tiny with 60 users, 40 items"):
        load_data_and_model(result["model_file"])
    train.write_text(header + first + "".join(reversed(rest)))
    with pytest.raises(CheckpointError):  # other ids for the same tokens
        load_data_and_model(result["model_file"])


# ---- a caller's own class ---------------------------------------------------------------------


def test_a_callers_class_must_be_given_again(data_path: Path) -> None:
    from recbole.model.general_recommender.lightgcn import LightGCN as RecBoleLightGCN

    from recbole_darec import DaRecMixin

    class Mine(DaRecMixin, RecBoleLightGCN):
        pass

    result = run_recbole_darec(Mine, "tiny", config_dict=options(data_path))
    with pytest.raises(CheckpointError, match=r"Mine.*give that class"):
        load_data_and_model(result["model_file"])
    _, model, *_ = load_data_and_model(result["model_file"], Mine)
    assert type(model) is Mine
    found = evaluate_checkpoint(result["model_file"], model=Mine)
    assert found["test"] == dict(result["test_result"])
    by_name = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    with pytest.raises(CheckpointError, match="leave model= out"):
        load_data_and_model(by_name["model_file"], Mine)


# ---- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["save", "replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_previous_checkpoint_whole(
    where: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept" / "model.pth"
    save_checkpoint({"n": 1, "big": torch.arange(1000)}, path)
    before = path.read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        if where == "save":
            args[1].write(b"half a fi")
        raise error

    target = {"save": (torch, "save"), "replace": (os, "replace"), "fsync": (os, "fsync")}[where]
    monkeypatch.setattr(*target, fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save_checkpoint({"n": 2}, path)
    if isinstance(error, OSError):
        assert "No space left on device" in str(caught.value)
        assert "checkpoint_dir" in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.pth"]
    assert load_checkpoint(path)["n"] == 1


def test_a_checkpoint_appears_under_its_name_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, states = tmp_path / "kept" / "model.pth", []
    rename = os.replace

    def watched(source: Any, target: Any) -> None:
        states.append((Path(target).exists(), load_checkpoint(Path(source))["n"]))
        rename(source, target)

    monkeypatch.setattr(os, "replace", watched)
    save_checkpoint({"n": 3}, path)
    assert states == [(False, 3)]


def test_names_of_one_second_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "time", ONE_SECOND)
    names = {checkpoint_name("LightGCN", "darec", "tiny") for _ in range(200)}
    assert len(names) == 200
    assert all(n.startswith("LightGCN-darec-tiny-Jan-01-2024_00-00-00-") for n in names)
    assert checkpoint_name("LightGCN", "none", "tiny").startswith("LightGCN-tiny-")


def test_two_runs_of_one_second_keep_two_models(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "time", ONE_SECOND)
    files = {
        run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, seed=seed))[
            "model_file"
        ]
        for seed in (1, 2)
    }
    assert len(files) == 2
    assert {Path(p).resolve() for p in files} == {p.resolve() for p in Path("saved").iterdir()}


# ---- reading ----------------------------------------------------------------------------------


class Hostile:
    def __reduce__(self) -> Any:
        return (os.system, ("touch executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: torch.save({"config": Hostile()}, "x.pth"), "holds objects|damaged"),
        (lambda: Path("x.pth").write_bytes(pickle.dumps(Hostile())), "holds objects|damaged"),
        (lambda: Path("x.pth").write_bytes(b""), "damaged"),
        (lambda: Path("x.pth").write_bytes(b"not a checkpoint"), "damaged|holds objects"),
        (lambda: torch.save({"n": 1}, "x.pth"), "not a checkpoint of recbole_darec"),
        (lambda: torch.save([1], "x.pth"), "not a checkpoint of recbole_darec"),
        (lambda: None, "does not exist"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_not_run(
    content: Callable[[], Any], message: str
) -> None:
    content()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(Path("x.pth"))
    assert not Path("executed").exists()


def test_a_truncated_checkpoint_is_refused_wherever_it_was_cut(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, epochs=1))
    whole = Path(result["model_file"]).read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        Path("cut.pth").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CheckpointError, match="damaged"):
            load_data_and_model("cut.pth")


def test_a_checkpoint_of_other_sizes_is_refused_by_name(data_path: Path) -> None:
    result = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, epochs=1))
    content = torch.load(result["model_file"], weights_only=True)
    content["settings"]["embedding_size"] = 16
    torch.save(content, "other.pth")
    with pytest.raises(CheckpointError, match=r"does not fit this model.*user_embedding"):
        load_data_and_model("other.pth")


# ---- plain values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        sp.random(7, 5, 0.4, format="csr", random_state=0),
        sp.random(7, 5, 0.4, format="csc", random_state=0),
        sp.random(7, 5, 0.4, format="lil", random_state=0),
        sp.csr_matrix((3, 4)),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.asmatrix(np.arange(6.0).reshape(2, 3)),
    ],
)
def test_arrays_and_sparse_matrices_come_back_as_they_were(value: Any, tmp_path: Path) -> None:
    stored = plain({"w": [value]})
    assert only_plain(stored)
    torch.save(stored, tmp_path / "x")
    (back,) = from_plain(torch.load(tmp_path / "x", weights_only=True))["w"]
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    dense = [v.toarray() if sp.issparse(v) else np.asarray(v) for v in (back, value)]
    assert np.array_equal(*dense)


def test_numpy_scalars_and_tuples_become_pythons() -> None:
    found = plain({"a": np.float64(0.1), "b": (np.int64(3), np.str_("x")), 4: np.bool_(True)})
    assert found == {"a": 0.1, "b": [3, "x"], 4: True}
    assert only_plain(found)


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="not set"):
        plain({"a": {1, 2}})


def test_the_same_run_twice_gives_the_same_parameters(data_path: Path) -> None:
    first, second = (
        run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path)) for _ in range(2)
    )
    assert outcome(first) == outcome(second)
    states = [load_checkpoint(Path(r["model_file"]))["state_dict"] for r in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert prepared(data_path).identity.data == load_checkpoint(Path(first["model_file"]))["data"]


@pytest.mark.parametrize("at", range(1, 12))
def test_ctrl_c_while_a_checkpoint_is_written_is_ctrl_c(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save

    class Interrupted:
        """A file that is interrupted in one of its writes."""

        def __init__(self, file: Any) -> None:
            self._file, self._writes = file, 0

        def write(self, data: Any) -> int:
            self._writes += 1
            if self._writes == at:
                raise KeyboardInterrupt
            return int(self._file.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    monkeypatch.setattr(torch, "save", lambda content, file: save(content, Interrupted(file)))
    path = tmp_path / "saved" / "model.pth"
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint({"a": torch.zeros(1000), "b": torch.zeros(3)}, path)
    assert list(path.parent.iterdir()) == []

"""Where a training by the command line leaves its model, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RunCli

from recbole_darec import recommend, run_recbole_darec
from recbole_darec.cli import main
from recbole_darec.testing.tiny_dataset import TinyDataset
from recbole_darec.testing.tiny_runs import QUICK, options

ARGS = [
    "train", "--model=LightGCN", "--dataset=tiny",
    *(f"--{name}={value}" for name, value in QUICK.items() if name not in ("metrics", "topk")),
    "--metrics=['Recall','NDCG']", "--topk=[5,10]",
]  # fmt: skip


def test_one_json_object_is_all_of_stdout(
    tiny_dataset: TinyDataset, tmp_path: Path, run_warm: RunCli
) -> None:
    done = run_warm([*ARGS, "--out=models/mine.pth", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model_file"] == "models/mine.pth"
    assert set(found["test_result"]) == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}
    assert Path(found["log_file"]).is_file()
    assert "epoch 0 training" in done.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine.pth"]


def test_a_script_goes_on_with_the_file(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*ARGS, "--out=mine.pth"]) == 0
    first = torch.load("mine.pth", weights_only=True)["state_dict"]
    assert len(recommend("mine.pth", ["u1"], 3)) == 3
    assert main([*ARGS, "--out=mine.pth", "--seed=7"]) == 0
    second = torch.load("mine.pth", weights_only=True)["state_dict"]
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_is_resumed_under_another_name_has_that_name(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = options(tmp_path / "dataset", checkpoint_dir="saved", epochs=3)

    def cut(epoch: int, losses: Any, *_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("recbole_darec.training.snapshots.Snapshots.end_fit", cut)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_darec("LightGCN", "tiny", None, {**given, "checkpoint_name": "one.pth"})
    changed = {**given, "checkpoint_name": "two.pth", "resume": True}
    result = run_recbole_darec("LightGCN", "tiny", None, changed)
    assert result["model_file"] == str(Path("saved/two.pth"))
    whole = run_recbole_darec("LightGCN", "tiny", None, given)
    states = [torch.load(file, weights_only=True)["state_dict"]
              for file in (result["model_file"], whole["model_file"])]  # fmt: skip
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--out=a.pth", "--checkpoint_dir=b"], "--out and --checkpoint_dir name the same file"),
        (["--out=models/"], "write --out=models/model.pth"),
        (["--checkpoint_name=a/b.pth"], "checkpoint_name='a/b.pth' is no file name"),
    ],
)
def test_bad_names_are_one_line(
    args: list[str],
    expected: str,
    tiny_dataset: TinyDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*ARGS, *args]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert expected in line
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]

"""Sequences by the public command: from lists to metrics, and bad input in one line each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RunCli

from recbole_darec.cli.main import main
from recbole_darec.resolve import resolve
from recbole_darec.testing.tiny_sequences import write_tiny_sequences

QUICK = [
    "--dataset=tiny", "--epochs=1", "--topk=[5,10]", "--valid_metric=Hit@10",
    "--show_progress=False",
]  # fmt: skip
SMALL = ["--model=SASRec", "--hidden_size=8", "--inner_size=8", *QUICK]
PAD = [*SMALL, "--align=pad"]
CASER = ["--model=Caser", "--MAX_ITEM_LIST_LENGTH=3", *QUICK]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_tiny_sequences(tmp_path / "dataset").folder


def test_from_lists_to_metrics(tmp_path: Path, run_warm: RunCli) -> None:
    items = [f"p{n}" for n in range(12)]
    lists = "".join(
        f'{{"user": "u{n}", "history": {[items[(n + k) % 12] for k in range(6)]}}}\n'.replace(
            "'", '"'
        )
        for n in range(12)
    )
    (tmp_path / "lists.jsonl").write_text(lists, "utf-8")
    titles = "".join(f"{item},Thing {item}\n" for item in items)
    (tmp_path / "items.csv").write_text(f"id,title\n{titles}", "utf-8")
    imported = run_warm(
        ["import", "sequences", "lists.jsonl", "--items=items.csv", "--dataset=tiny"], tmp_path
    )
    assert imported.returncode == 0, imported.stderr
    assert "test items taken before by the user" in imported.stdout
    made = run_warm(["profile", "--dataset=tiny", "--profiler=template", "--side=item"], tmp_path)
    assert made.returncode == 0, made.stderr
    assert "12 items, 0 users" in made.stdout
    assert not (tmp_path / "dataset" / "tiny" / "tiny.userprofile.jsonl").exists()
    trained = run_warm(["train", *SMALL, "--align=none", "--eval_mask=history"], tmp_path)
    assert trained.returncode == 0, trained.stderr
    model = re.search(r"model in (\S+)", trained.stdout)
    assert model
    table = trained.stdout[trained.stdout.index("metric ") :].splitlines()
    evaluated = run_warm(["evaluate", model[1]], tmp_path)
    assert evaluated.stdout.splitlines()[:5] == table[:5]
    other = run_warm(["evaluate", model[1], "--eval_mask=none"], tmp_path)
    assert other.returncode == 0
    assert other.stdout != evaluated.stdout


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
@pytest.mark.parametrize(
    "align", ["none", "pad", "smem", "hybrid", "morec", "ctrl", "make", "disco", "rlmrec_con"]
)
def test_the_preset_of_pad_goes_with_each_rival(model: str, align: str, tiny: Path) -> None:
    settings = resolve(model, "tiny", None, {"preset": "paper_pad", "align": align})
    values = settings.values
    assert (values["eval_mask"], values["learner"]) == ("history_all", "adamw")
    wanted = {"none": 1e-5, "rlmrec_con": 1e-5, "pad": [1e-5, 1e-5, 1e-4], "smem": [1e-5, 1e-4]}
    rate = values.get("phase_learning_rate") or values["learning_rate"]
    assert rate == wanted.get(align, 1e-4)


def test_pad_trains_under_its_preset(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = ["--model=SASRec", "--dataset=tiny", "--preset=paper_pad", "--align=pad"]
    assert main(["train", *arguments, "--epochs=1", "--show_progress=False"]) == 0
    assert "Phase 3 of 3: tune" in caplog.text


BAD: dict[str, tuple[list[str], str]] = {
    "order": (
        [*SMALL, "--eval_args={'order': 'RO'}"],
        r"order=RO shuffles a sequential model's interactions.*set order to TO",
    ),
    "split": (
        [*SMALL, "--eval_args={'split': {'RS': [8, 1, 1]}}"],
        r"not on a split \{'RS': \[8, 1, 1\]\}: set split to \{'LS': 'valid_and_test'\}",
    ),
    "mode": ([*SMALL, "--eval_args={'mode': 'uni100'}"], r"mode=uni100 samples.*set mode to full"),
    "fixed split": (
        [*SMALL, "--benchmark_filename=['train', 'valid', 'test']"],
        r"benchmark_filename=.*says nothing of the order",
    ),
    "length": ([*SMALL, "--MAX_ITEM_LIST_LENGTH=0"], "MAX_ITEM_LIST_LENGTH=0 must be at least 1"),
    "mask": ([*SMALL, "--eval_mask=train"], "eval_mask=train is not for the sequential model"),
    "mask of sequences": (
        ["--model=LightGCN", "--align=none", *QUICK, "--eval_mask=history"],
        "eval_mask=history is not for the general model 'LightGCN': take train or train_valid",
    ),
    "softmax with negatives": (
        [*SMALL, "--rank_loss=ce", "--train_neg_sample_args={'distribution': 'uniform'}"],
        "rank_loss=ce ranks a target among all items and takes no negatives",
    ),
    "many negatives": (
        [*SMALL, "--train_neg_sample_args={'sample_num': 5}"],
        "draws one negative a target, uniformly",
    ),
    "loss type": ([*SMALL, "--loss_type=BPR"], "loss_type=BPR is RecBole's: say rank_loss="),
    "split seed": ([*SMALL, "--split_seed=1"], "split_seed=1 goes with a random split"),
    "rank loss": ([*SMALL, "--rank_loss=nll"], "rank_loss='nll' must be one of bce, bpr, ce"),
    "other family": (
        ["--model=LightGCN", "--align=none", *QUICK, "--training_rows=positions"],
        "option 'training_rows' on the command line belongs to sequential models, not to LightGCN",
    ),
    "positions of Caser": (
        [*CASER, "--align=none", "--training_rows=positions"],
        "training_rows=positions needs a model that reads a sequence in order, and 'Caser'",
    ),
    "masked input": ([*SMALL, "--align=rlmrec_gen"], "--align=rlmrec_gen masks embeddings"),
    "changed sequences": (
        ["--model=BERT4Rec", "--align=none", *QUICK],
        "the model 'BERT4Rec' wants its sequences changed",
    ),
    "features": (
        ["--model=SASRecF", "--align=none", *QUICK],
        "'SASRecF' cannot be made of items and their order",
    ),
    "experts of users and items": (
        ["--model=LightGCN", "--align=pad", *QUICK],
        "--align=pad ranks by experts that read sequences, and the model 'LightGCN' reads none",
    ),
    "discrepancy": ([*PAD, "--pad_gamma=-0.1"], "pad_gamma=-0.1 must be at least 0"),
    "buckets": ([*PAD, "--gate_buckets=400"], "gate_buckets=400: only 40 items stand in the train"),
    "nothing to align": (
        [*PAD, "--pad_anchor=without", "--pad_gamma=0"],
        "pad_anchor=without with pad_gamma=0 leaves the second phase nothing to train",
    ),
    "no expert": ([*PAD, "--pad_experts=[]"], r"pad_experts=\[\]: every expert is left out"),
    "phases' epochs": (
        [*PAD, "--phase_epochs=[1,2]"],
        r"phase_epochs=\[1, 2\]: there are 3 phases \(pretrain, align, tune\)",
    ),
    "phases' rates": (
        [*PAD, "--phase_learning_rate=[0.1,0,0.1]"],
        r"phase_learning_rate=\[0.1, 0, 0.1\] must be above 0",
    ),
    "joined experts": ([*SMALL, "--align=pad+text_filter"], "pad ranks by experts of its own"),
    "no item table": (
        ["--model=MarkovChain", "--align=darec", *QUICK],
        "the model 'MarkovChain' has no one item table",
    ),
}


def refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line(
    name: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in Path().iterdir())
    refused(*BAD[name], capsys)
    assert sorted(path.name for path in Path().iterdir()) == before


def rewritten(tiny: Path, change: Any) -> None:
    path = tiny / "tiny.inter"
    header, *rows = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([header, *change(rows)]) + "\n", "utf-8")


def test_times_must_be_there_without_gaps(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--align=none"]
    rewritten(tiny, lambda rows: [rows[0].rpartition("\t")[0] + "\t", *rows[1:]])
    refused(arguments, r"data set 'tiny': timestamp is missing in 1 of \d+ interactions", capsys)
    refused(
        [*arguments, "--load_col={'inter': ['user_id', 'item_id']}"],
        r"data set 'tiny' has no times \(timestamp:float\).*load_col",
        capsys,
    )


def test_every_item_must_have_a_text(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny / "tiny.itememb.npy"
    np.save(path, np.load(path)[:-2])
    tokens = tiny / "tiny.itememb.tokens"
    tokens.write_text("".join(tokens.read_text("utf-8").splitlines(keepends=True)[:-2]), "utf-8")
    refused([*PAD, "--gate_buckets=3"], "2 of 40 items .*missing_profile=", capsys)


def test_someone_must_have_three_items(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(tiny, lambda rows: [row for row in rows if int(row.split("\t")[2]) <= 2])
    refused([*SMALL, "--align=none"], "no user has three interactions", capsys)


def test_users_with_fewer_are_counted_in_a_warning(
    tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewritten(tiny, lambda rows: [*rows, "v\ti1\t1", "v\ti2\t2", "w\ti3\t1"])
    assert main(["train", *SMALL, "--align=none"]) == 0
    assert "2 users of 'tiny' have fewer than three interactions" in caplog.text

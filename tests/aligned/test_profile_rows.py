"""Profiles made from one split must not be aligned on another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import one_batch, options, outcome, prepared

from recbole_darec import evaluate_checkpoint, run_recbole_darec
from recbole_darec.aligned.profile_rows import check_split
from recbole_darec.data.splits import Split
from recbole_darec.embeddings import read_table, write_binary
from recbole_darec.errors import DataError, OptionError


@pytest.fixture
def data_path(tmp_path: Path, make_tiny: Callable[..., Any]) -> Path:
    path: Path = make_tiny(tmp_path / "dataset").data_path
    return path


SPLIT = {"ratios": [3, 1, 1], "group_by": "user", "seed": 2020, "interactions": 100}


def check(made_from: object, run_split: dict[str, Any] | None, **otherwise: str) -> None:
    meta = {"user": {"file": "x.useremb.npy", "split": made_from}}
    check_split(meta, run_split and Split.from_note(run_split), **otherwise)


@pytest.mark.parametrize("ratios", [[3, 1, 1], [0.6, 0.2, 0.2]])
def test_the_same_split_is_accepted_however_its_ratios_are_written(ratios: list[float]) -> None:
    check(SPLIT, {**SPLIT, "ratios": ratios})


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"ratios": [8, 1, 1]}, {"group_by": "none"}, {"interactions": 99}],
)
def test_another_split_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"may tell test interactions.*profile_split=warn"):
        check(SPLIT, {**SPLIT, **change})


def test_a_split_that_nobody_fixed_is_another_one() -> None:
    with pytest.raises(DataError, match="another split"):
        check(SPLIT, None)


def test_files_that_do_not_say_how_they_were_made_are_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check(None, None)
    check(None, SPLIT)
    check("3:1:1, by hand", None)
    check("3:1:1, by hand", SPLIT)
    assert not caplog.records


def test_a_warning_can_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    check(SPLIT, None, otherwise="warn")
    assert "may tell test interactions" in caplog.text


@pytest.mark.parametrize(
    "note", [{"seed": 2020}, {**SPLIT, "ratios": ["a"]}, {**SPLIT, "ratios": [0, 0, 0]}]
)
def test_a_note_that_cannot_be_read_is_refused_with_its_file(note: object) -> None:
    with pytest.raises(DataError, match=r"x\.useremb\.npy.*noted as ratios, group_by"):
        check(note, SPLIT)


def test_a_run_is_held_to_its_own_split(make_tiny: Callable, tmp_path: Path) -> None:
    tiny = make_tiny(tmp_path)
    tables = [(tiny.folder / f"tiny.{part}.inter").read_text() for part in ("train", "valid")]
    header, *rows = "".join(tables).splitlines(keepends=True)
    rows = [row for row in rows if row != header]
    (tiny.folder / "tiny.inter").write_text(header + "".join(rows))
    yaml = (tiny.folder / "tiny.yaml").read_text().replace("[train, valid, test]", "null")
    (tiny.folder / "tiny.yaml").write_text(f"{yaml}eval_args: {{split: {{RS: [3, 1, 1]}}}}\n")
    note = Split((3.0, 1.0, 1.0), "user", 7, len(rows)).note()
    (tiny.folder / "tiny.useremb.json").write_text(json.dumps({"split": note}))
    run = prepared(tmp_path, split_seed=7)
    assert run.config.split == Split.from_note(note)
    with pytest.raises(DataError, match="split_seed 7, of 480 interactions"):
        prepared(tmp_path, split_seed=8)
    with pytest.raises(DataError, match="another split"):
        prepared(tmp_path)  # drawn from the training seed, which is no split of its own


@pytest.mark.parametrize("align", ["darec", "rlmrec_con", "kar", "relational"])
def test_an_aligner_works_on_components_of_the_training_part(data_path: Path, align: str) -> None:
    run = prepared(data_path, align=align, profile_components=5)
    rows = run.model.profile_rows
    assert rows.shape == (100, 5)
    training = run.train_data._dataset.inter_feat
    kinds = run.model._kinds
    sample = torch.cat(
        [
            rows[kinds[kind]][training[f"{kind}_id"].unique() - 1].double()
            for kind in ("user", "item")
        ]
    )
    torch.testing.assert_close(sample.mean(0), torch.zeros(5).double(), atol=1e-4, rtol=0)
    covariance = torch.cov(sample.T)
    torch.testing.assert_close(
        covariance, covariance.diagonal().diag(), atol=1e-4 * float(covariance.max()), rtol=0
    )
    loss = run.model.calculate_loss(one_batch(run))
    parts = loss if isinstance(loss, tuple) else (loss,)
    assert all(bool(torch.isfinite(part).all()) for part in parts)


def test_rows_mapped_from_a_file_train_and_evaluate_as_those_in_memory(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (data_path / "tiny").glob("*emb"):  # in half precision, as the mapped rows are
        table = read_table(file)
        write_binary(file, list(table.tokens), np.array(table.matrix, np.float16))
    values = options(data_path, epochs=1)
    inside = run_recbole_darec("LightGCN", "tiny", config_dict=values)
    monkeypatch.setattr("recbole_darec.embeddings.load.too_large", lambda *_: True)
    mapped = run_recbole_darec("LightGCN", "tiny", config_dict=values)
    assert outcome(mapped) == outcome(inside)
    assert len(list((data_path / "tiny").glob("*.cache"))) == 1
    assert evaluate_checkpoint(mapped["model_file"])["test"] == mapped["test_result"]


def test_zca_and_fewer_components_do_not_go_together(data_path: Path) -> None:
    with pytest.raises(OptionError, match="profile_whiten=zca keeps all columns"):
        prepared(data_path, profile_whiten="zca", profile_components=4)


def constant(data_path: Path) -> None:
    for file in (data_path / "tiny").glob("*emb.npy"):
        np.save(file, np.ones_like(np.load(file)))


def huge(data_path: Path) -> None:
    for file in (data_path / "tiny").glob("*emb.npy"):
        np.save(file, np.load(file).astype(np.float32) * np.float32(1e38))


def cut_short(data_path: Path) -> None:
    prepared(data_path, profile_components=3)
    (file,) = (data_path / "tiny").glob("*.profiles.*.cache")
    file.write_bytes(file.read_bytes()[:-8])


def of_other_data(data_path: Path) -> None:
    prepared(data_path, profile_components=3)
    (file,) = (data_path / "tiny").glob("*.profiles.*.cache")
    prepared(data_path, profile_components=2)
    (other,) = set((data_path / "tiny").glob("*.profiles.*.cache")) - {file}
    other.replace(file)


@pytest.mark.parametrize(
    ("spoil", "option", "told"),
    [
        (None, "--profile_components=999", "profile_components=999 is more than the"),
        (constant, "--profile_whiten=pca", "the others would be divided by zero: leave it out"),
        (huge, "--profile_whiten=pca", "too large to be squared in float32"),
        (cut_short, "--profile_components=3", "cut short or damaged"),
        (of_other_data, "--profile_components=3", "made of other data than its name says"),
    ],
)
def test_bad_components_end_in_one_line_with_exit_2(
    data_path: Path,
    run_warm: Callable[..., Any],
    spoil: Callable[[Path], None] | None,
    option: str,
    told: str,
) -> None:
    if spoil:
        spoil(data_path)
    before = sorted(data_path.rglob("*"))
    command = ["train", "--model=LightGCN", "--dataset=tiny", option, f"--data_path={data_path}"]
    result = run_warm(command, cwd=data_path.parent)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(data_path.rglob("*")) == before

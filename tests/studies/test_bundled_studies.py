"""Each bundled study, to its table, on a tiny data set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_darec.resources import properties_dir
from recbole_darec.studies.command import shown
from recbole_darec.studies.command_options import CompareOptions
from recbole_darec.studies.results import open_results
from recbole_darec.studies.runner import run_study
from recbole_darec.studies.study import read_study
from recbole_darec.testing.tiny_dataset import write_tiny
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from studies.in_this_process import InThisProcess

pytestmark = pytest.mark.slow

STUDIES = sorted(
    path.stem for path in (properties_dir() / "study").glob("*.yaml") if path.stem != "sequences"
)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_general_models(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = write_tiny(tmp_path / "dataset")
    for path in tiny.folder.glob("tiny.*emb*"):
        other = tmp_path / "other_encoder" / "xrec_yelp" / path.name
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other)
    comes_to_its_table(name, tmp_path, {"epochs": 3, "train_batch_size": 256})


def test_the_study_of_sequential_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_sequences(tmp_path / "dataset")
    comes_to_its_table("sequences", tmp_path, {"epochs": 1, "train_batch_size": 16})


def comes_to_its_table(name: str, folder: Path, small: dict[str, Any]) -> None:
    """Run a study with one seed and one setting to a search; all else but ``small`` is its own."""
    content = yaml.safe_load((properties_dir() / "study" / f"{name}.yaml").read_text("utf-8"))
    content |= {"datasets": ["tiny"], "seeds": [1], "common": {**content["common"], **small}}
    content.pop("more_seeds", None)
    if "tune" in content:
        content["tune"]["trials"] = 1
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    study = read_study(f"{name}.yaml")
    path = folder / "results.sqlite"
    with open_results(path) as store:
        run_study(study, store, InThisProcess(), folder / "runs")
        rows = store.rows().values()
        assert {row.key: row.reason for row in rows if row.state != "done"} == {}
        assert all(row.valid for row in rows), "each run was validated"
    table = shown(study, path, CompareOptions())
    assert all(method.name in table for method in study.methods())

"""Each bundled study over general models, to its table, on the tiny data set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from recbole_darec.resources import properties_dir
from recbole_darec.studies.command import shown
from recbole_darec.studies.command_options import CompareOptions
from recbole_darec.studies.outcome import Outcome, Task
from recbole_darec.studies.results import open_results
from recbole_darec.studies.runner import run_study
from recbole_darec.studies.study import read_study
from recbole_darec.studies.worker import done
from recbole_darec.testing.tiny_dataset import write_tiny

pytestmark = pytest.mark.slow

STUDIES = sorted(
    path.stem
    for path in (properties_dir() / "study").glob("*.yaml")
    if path.stem != "sequences"  # its cells: test_phased_runs.py
)


class InThisProcess:
    """Does one task at a time, at once."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._home = Path.cwd()

    def free(self) -> int:
        return int(self._task is None)

    def start(self, task: Task) -> None:
        Path(task.folder).mkdir(parents=True, exist_ok=True)
        self._task = task

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        assert self._task is not None
        task, self._task = self._task, None
        try:
            return [(task, done(task))]
        finally:
            os.chdir(self._home)  # a worker works in its run's folder

    def close(self) -> None:
        self._task = None


@pytest.mark.parametrize("name", STUDIES)
def test_a_bundled_study_comes_to_its_table(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one seed, one setting to a search and three epochs; all else is the study's."""
    monkeypatch.chdir(tmp_path)
    tiny = write_tiny(tmp_path / "dataset")
    for path in tiny.folder.glob("tiny.*emb*"):
        other = tmp_path / "other_encoder" / "xrec_yelp" / path.name
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other)
    content = yaml.safe_load((properties_dir() / "study" / f"{name}.yaml").read_text("utf-8"))
    content |= {"datasets": ["tiny"], "seeds": [1]}
    content["common"] = {**content["common"], "epochs": 3, "train_batch_size": 256}
    content.pop("more_seeds", None)
    if "tune" in content:
        content["tune"]["trials"] = 1
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    study = read_study(f"{name}.yaml")
    path = tmp_path / "results.sqlite"
    with open_results(path) as store:
        run_study(study, store, InThisProcess(), tmp_path / "runs")
        rows = store.rows().values()
        assert {row.key: row.reason for row in rows if row.state != "done"} == {}
        assert all(row.valid for row in rows), "each run was validated"
    table = shown(study, path, CompareOptions())
    methods = {method.name for method in study.methods()}
    assert all(method in table for method in methods)

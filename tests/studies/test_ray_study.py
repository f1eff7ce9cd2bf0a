"""A study on a Ray cluster of two nodes of this machine, one of which is killed."""

from __future__ import annotations

import csv
import importlib.util
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import command

from studies.ray_nodes import Cluster, of_ray
from studies.test_compare import LONG, runs_in, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the ray extra"),
]


def test_a_node_is_killed_and_the_table_is_the_same_to_the_digit(
    cluster: Cluster, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    tables = {}
    for name in ("here", "ray"):
        study = write_study(name=name, aligners=["none", "rlmrec_con"], variants=None, common=LONG)
        study = study.rename(tmp_path / f"{name}.yaml")
        more = [f"--ray-address={cluster.address}"] if name == "ray" else ["--jobs=2"]
        driver = subprocess.Popen(
            command(["compare", study.name, "--form=csv", *more]),
            cwd=tmp_path,
            env=of_ray(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if name == "ray":
            until(tmp_path, lambda: list(tmp_path.glob("studies/ray/runs/*/*.resume")))
            cluster.kill(2)
        text, errors = driver.communicate(timeout=600)
        assert driver.returncode == 0, errors
        # All but the study's name, and what is a matter of time.
        tables[name] = [
            {key: row[key] for key in row.keys() - {"study", "seconds", "epoch_seconds"}}
            for row in csv.DictReader(io.StringIO(text))
        ]
        assert len(tables[name]) == 4
    assert tables["here"] == tables["ray"]
    assert {state for state, _ in runs_in(tmp_path, "ray").values()} == {"done"}

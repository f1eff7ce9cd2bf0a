"""A tuning of ml-100k on a Ray cluster of two nodes, a worker of which is killed in the middle."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from conftest import RunCli, command

from studies.ray_nodes import Cluster, of_ray
from studies.test_tuning import trials_of, written

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the tune extra"),
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs Linux's /proc"),
]


def kill_a_worker_in(trials: Path) -> None:
    """Kill a process that works in a trial's folder, once it has left a snapshot there."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        begun = {path.parent for path in trials.glob("*/*.resume")}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                inside = (process / "cwd").resolve() in begun
            except OSError:
                continue
            if inside:
                os.kill(int(process.name), signal.SIGKILL)
                return
        time.sleep(0.05)
    raise AssertionError("no trial has left a snapshot")


def test_ml_100k_on_a_cluster_with_a_worker_killed(
    cluster: Cluster, tmp_path: Path, run_cli: RunCli
) -> None:
    """The killed trial goes on; every figure is that of a tuning by Hyperopt that nobody kills."""
    pytest.importorskip("hyperopt")
    pytest.importorskip("ray.tune", exc_type=ImportError)
    written(tmp_path / "p.hyper", "align_lambda choice [0.01,0.1,1.0]\n")
    # One validation, at the end: nothing is stopped early, and all trials can be compared.
    args = [
        "--model=LightGCN", "--dataset=ml-100k", "--align=darec", "--params_file=p.hyper",
        "--epochs=5", "--eval_step=5", "--align_mlp_hidden=[64]", "--align_sample=512",
        "--metrics=['Recall']", "--topk=[20]", "--valid_metric=Recall@20",
    ]  # fmt: skip
    on_ray = ["--tool=Ray", f"--ray-address={cluster.address}", "--output_file=ray.result"]
    driver = subprocess.Popen(
        command(["tune", *args, *on_ray]), cwd=tmp_path, env=of_ray(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    kill_a_worker_in(tmp_path / "ray.trials")
    text, _ = driver.communicate(timeout=900)
    assert driver.returncode == 0, text
    assert "its worker was lost; it goes on" in text

    whole = run_cli(["tune", *args, "--output_file=whole.result"], tmp_path, timeout=900)
    assert whole.returncode == 0, whole.stderr
    found, wanted = (trials_of(tmp_path / f"{name}.result") for name in ("ray", "whole"))
    assert len(found) == 3
    assert found == wanted
    best = [yaml.safe_load((tmp_path / f"{n}.best.yaml").read_text()) for n in ("ray", "whole")]
    assert best[0] == best[1]

"""``embed --ray-address`` on a cluster of this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoders.minilm import require_minilm
from recbole_darec.embeddings import read_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a running cluster with three cores, as Ray counts them."""
    ray = pytest.importorskip("ray", reason="needs ray")
    pytest.importorskip("pyarrow", reason="needs pyarrow (the ray extra)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        context = ray.init(
            num_cpus=3, include_dashboard=False, logging_level="error", log_to_driver=False
        )
        yield context.address_info["gcs_address"]
        ray.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset" / "d"
    folder.mkdir(parents=True)
    for side in ("user", "item"):
        texts = [f"{side} number {n} likes " + "slow films, " * (n % 11) for n in range(60)]
        lines = [json.dumps({"id": f"x{n}", "profile": text}) for n, text in enumerate(texts)]
        (folder / f"d.{side}profile.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run ``embed`` with an empty store; one thread, as each of Ray's workers has."""
    for path in folder.glob("*.sqlite*"):
        path.unlink()
    model = require_minilm()
    return subprocess.run(
        [sys.executable, "-m", "recbole_darec", "embed", "--dataset=d", f"--encoder=st:{model}",
         "--batch-size=8", "--dtype=float32", "--overwrite", *args],
        cwd=folder.parents[1],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    found = {p.name: p.read_bytes() for p in folder.glob("*emb.*") if p.suffix != ".json"}
    assert len(found) == 4
    return found


@pytest.mark.slow
def test_one_and_two_workers_and_no_ray_give_identical_files(cluster: str, folder: Path) -> None:
    files, notes = {}, {}
    for workers in (1, 2):
        done = run(folder, f"--ray-address={cluster}", f"--ray-workers={workers}")
        assert done.returncode == 0, done.stderr
        assert re.search(r"encoded now +120\n", done.stdout)
        assert "INFO" not in done.stderr
        files[workers] = files_of(folder)
        notes[workers] = {**read_table(folder / "d.useremb").meta, "date": None}
    assert run(folder, "--device=cpu").returncode == 0
    files[0] = files_of(folder)
    assert files[1] == files[2]
    assert files[1] == files[0]
    assert notes[1] == notes[2]
    rows = np.asarray(read_table(folder / "d.useremb").matrix)
    assert len(np.unique(rows, axis=0)) == 60


@pytest.mark.slow
def test_more_workers_than_cores_is_one_line(cluster: str, folder: Path) -> None:
    done = run(folder, f"--ray-address={cluster}", "--ray-workers=3")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the Ray cluster has 3 cores")


def test_no_cluster_is_one_line(folder: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow (the ray extra)")
    done = run(folder, "--ray-address=127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.splitlines()[-1].startswith("error: no Ray cluster at '127.0.0.1:1'")
    assert not list(folder.glob("*emb.*"))

"""``embed --ray-address`` on a cluster of this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from encoders.minilm import require_minilm
from encoders.stores import rows_in
from recbole_darec.embeddings import read_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset" / "d"
    folder.mkdir(parents=True)
    for side in ("user", "item"):
        texts = [f"{side} number {n} likes " + "slow films, " * (n % 11) for n in range(60)]
        lines = [json.dumps({"id": f"x{n}", "profile": text}) for n, text in enumerate(texts)]
        (folder / f"d.{side}profile.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def command(*args: str) -> list[str]:
    model = require_minilm()
    return [
        *(sys.executable, "-m", "recbole_darec", "embed", "--dataset=d", f"--encoder=st:{model}"),
        *("--batch-size=8", "--dtype=float32", "--overwrite", *args),
    ]


def environment(*paths: Path) -> dict[str, str]:
    """One thread, as each of Ray's workers has."""
    path = os.pathsep.join(map(str, (*paths, ROOT)))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(folder: Path, *args: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run ``embed`` with an empty store."""
    for kept in folder.glob("*.sqlite*"):
        kept.unlink()
    return subprocess.run(
        command(*args),
        cwd=folder.parents[1],
        env=environment(path),
        capture_output=True,
        text=True,
        timeout=300,
    )


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
        assert done.stderr == ""
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
    done = run(folder, f"--ray-address={cluster}", "--ray-workers=4")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the Ray cluster has 3 cores")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_leaves_one_line_and_what_came(cluster: str, folder: Path) -> None:
    store = folder / "d.store.sqlite"
    process = subprocess.Popen(
        command(f"--ray-address={cluster}", "--batch-size=1"),
        cwd=folder.parents[1],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not rows_in(store):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert 1 <= rows_in(store) < 120
    assert not list(folder.glob("*emb.*"))


def test_no_cluster_is_one_line(folder: Path) -> None:
    pytest.importorskip("ray", reason="needs ray (the ray extra)")
    done = run(folder, "--ray-address=127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.splitlines()[-1].startswith("error: no Ray cluster at '127.0.0.1:1'")
    assert not list(folder.glob("*emb.*"))


def test_a_broken_ray_is_one_line(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "ray"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import numpy\nnumpy.no_such_alias\n")
    done = run(folder, "--ray-address=auto", path=broken.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ray is installed, but cannot be imported (")
    assert done.stderr.endswith("pip install --upgrade 'recbole-darec[ray]'\n")
    assert done.stderr.count("\n") == 1

"""Studies on the tiny data set, of runs that take a moment."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_darec.studies.study import Study, read_study
from recbole_darec.testing.tiny_dataset import write_tiny
from studies.ray_nodes import Cluster

TINY: dict[str, Any] = {
    "name": "tiny",
    "datasets": ["tiny"],
    "backbones": ["LightGCN"],
    "aligners": ["none", "text_filter"],
    "variants": {"no_text": {"align": "text_filter", "set": {"profile_control": "no_text"}}},
    "seeds": [1, 2],
    "common": {
        "epochs": 2,
        "embedding_size": 8,
        "n_layers": 1,
        "train_batch_size": 64,
        "metrics": ["Recall", "NDCG"],
        "topk": [5, 10],
    },
    "metric": "Recall@10",
    "report": ["recall@10", "ndcg@10"],
}


@pytest.fixture
def write_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``write_study(key=value)``: the tiny study with other keys, in a folder with its data."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "dataset")

    def write(**changed: Any) -> Path:
        content = {k: v for k, v in {**TINY, **changed}.items() if v is not None}
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_study(write_study: Callable[..., Path]) -> Callable[..., Study]:
    """``make_study(key=value)``: the same, read."""
    return lambda **changed: read_study(str(write_study(**changed)))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A Ray cluster of this machine."""
    folder = Path("/tmp") / f"ray-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    made = Cluster(folder)
    try:
        made.begin()
        yield made
    finally:
        for number in range(len(made.nodes)):
            made.kill(number)
        shutil.rmtree(folder, ignore_errors=True)

"""Files that version 0.1 wrote go on to load, and to give what they gave then.

tests/fixtures/v0.1/README.md says what they are and how they were made.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders.minilm import MINILM, require_minilm
from openai_server.process import serve_process
from tiny_runs import outcome

from recbole_darec import evaluate_checkpoint, load_data_and_model, run_recbole_darec
from recbole_darec.cli.main import main
from recbole_darec.embeddings import read_table

OLD = Path(__file__).resolve().parent / "fixtures" / "v0.1"
METRICS: dict[str, Any] = json.loads((OLD / "metrics.json").read_text("utf-8"))
# Where the server stood that made the stored vectors; nothing listens there now.
STORED_ADDRESS = "http://127.0.0.1:48317/v1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old files, and the working folder."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.chdir(shutil.copytree(OLD, tmp_path / "old"))
    return Path()


def close(metrics: dict[str, float]) -> Any:
    return pytest.approx(metrics, rel=0, abs=1e-6)


# ---- checkpoints and data folders ------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS["evaluate"])
def test_a_checkpoint_gives_the_metrics_of_then(name: str) -> None:
    found = evaluate_checkpoint(f"saved/{name}")
    for part, metrics in METRICS["evaluate"][name].items():
        assert found[part] == close(metrics)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LightGCN-darec.pth", "DaRecLightGCN"),
        ("NCL.pth", "NCL"),
        ("SimGCL-kar.pth", "KARSimGCL"),
        ("LightGCN-darec-shop.pth", "DaRecLightGCN"),
        ("LightGCN-darec-imported.pth", "DaRecLightGCN"),
        ("LightGCN-prepared.pth", "LightGCN"),
    ],
)
def test_a_checkpoint_is_loaded_whole(name: str, kind: str) -> None:
    _, model, *_ = load_data_and_model(f"saved/{name}")
    assert type(model).__name__ == kind
    stored = torch.load(f"saved/{name}", weights_only=True)["state_dict"]
    assert stored.keys() <= model.state_dict().keys()
    assert all(torch.equal(model.state_dict()[key], value) for key, value in stored.items())


@pytest.mark.parametrize("dataset", ["shop", "imported", "prepared"])
def test_a_data_folder_trains(dataset: str) -> None:
    align = "none" if dataset == "prepared" else "darec"
    given = {"epochs": 1, "align": align}
    result = run_recbole_darec("LightGCN", dataset, ["quick.yaml"], given, saved=False)
    assert result["best_epoch"] == 0


# ---- snapshots -------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "by_path"), [("LightGCN", 0), ("LightGCN", 1), ("NCL", 0)])
def test_a_cut_off_run_goes_on_to_the_metrics_of_then(model: str, by_path: int) -> None:
    expected = METRICS["resume"][model]
    (snapshot,) = Path("cut_off").glob(f"{model}-*.resume")
    given = {**expected["options"], "checkpoint_dir": "cut_off"}
    given["resume"] = str(snapshot) if by_path else True
    found = outcome(run_recbole_darec(model, "tiny", ["quick.yaml"], given))
    for part in ("best_valid_result", "test_result"):
        assert found[part] == close(expected["result"][part])
    assert found["best_epoch"] == expected["result"]["best_epoch"]
    (log,) = Path("log").rglob("*.log")
    # It went on where it was cut off, and did not start anew.
    assert "epoch 3 training" in log.read_text("utf-8")
    assert "epoch 2 training" not in log.read_text("utf-8")
    assert not snapshot.exists()


# ---- the store -------------------------------------------------------------------------------


def profile(base_url: str) -> int:
    command = ["profile", "--dataset=shop", "--model=gpt-4o-mini", "--max-cost=1"]
    return main([*command, f"--base-url={base_url}"])


def made(pattern: str) -> dict[str, bytes]:
    """The files of the shop's folder of this pattern, which are taken away."""
    found = {}
    for path in sorted(Path("dataset/shop").glob(pattern)):
        found[path.name] = path.read_bytes()
        path.unlink()
    assert found
    return found


def count(table: str) -> int:
    with closing(sqlite3.connect("dataset/shop/shop.store.sqlite")) as store:
        (number,) = store.execute(f"SELECT count(*) FROM {table}").fetchone()
    return number


def test_what_was_answered_is_not_asked_again() -> None:
    pytest.importorskip("openai", reason="needs the extra llm")
    before = made("*profile.jsonl")
    with serve_process() as server:
        assert profile(server.base_url) == 0
        assert server.counters()["requests"] == {}
    assert made("*profile.jsonl") == before


def test_only_what_is_missing_is_asked() -> None:
    pytest.importorskip("openai", reason="needs the extra llm")
    before = made("*profile.jsonl")
    with closing(sqlite3.connect("dataset/shop/shop.store.sqlite")) as store, store:
        store.execute("DELETE FROM answers WHERE kind = 'user' AND id = 'u3'")
    with serve_process() as server:
        assert profile(server.base_url) == 0
        assert server.counters()["paid"] == {"chat": 1}
    assert made("*profile.jsonl") == before


@pytest.mark.parametrize("encoder", [f"st:{MINILM}", "openai:text-embedding-3-small@8"])
def test_what_was_encoded_is_not_encoded_again(encoder: str) -> None:
    if encoder.startswith("st:"):
        require_minilm()
    else:
        pytest.importorskip("openai", reason="needs the extra llm")
    before, n_vectors = made("shop.*emb.npy"), count("embedding")
    server = [] if encoder.startswith("st:") else [f"--base-url={STORED_ADDRESS}", "--retries=0"]
    assert main(["embed", "--dataset=shop", f"--encoder={encoder}", "--overwrite", *server]) == 0
    assert (count("embedding"), count("encoder")) == (n_vectors, 2)
    after = made("shop.*emb.npy")
    # The files of then hold the first encoder's rows; the second's are 8 wide.
    assert (after == before) == encoder.startswith("st:")


# ---- the cache of a text embedding -----------------------------------------------------------


def as_written(text: Path) -> None:
    """Give a text and its cache the times of change that the cache's note holds."""
    note = json.loads(text.with_name(f"{text.name}.cache.json").read_text("utf-8"))
    for part, name in (("text", ""), ("matrix", ".cache.npy"), ("tokens", ".cache.tokens")):
        time = note[part]["mtime_ns"]
        os.utime(text.with_name(text.name + name), ns=(time, time))


@pytest.mark.parametrize("kind", ["user", "item"])
@pytest.mark.parametrize("fits", [True, False], ids=["fits", "other times"])
def test_a_cache_is_used_where_it_fits(kind: str, fits: bool) -> None:
    text, cached = Path(f"texts/tiny.{kind}emb"), Path(f"texts/tiny.{kind}emb.cache.npy")
    as_written(text)
    if not fits:
        os.utime(text)
    before = cached.stat().st_ino, cached.stat().st_mtime_ns
    table = read_table(text)
    same = (cached.stat().st_ino, cached.stat().st_mtime_ns) == before
    assert same == fits
    expected = np.load(f"dataset/tiny/tiny.{kind}emb.npy").astype(np.float32)
    assert np.array_equal(table.matrix, expected)
    tokens = Path(f"dataset/tiny/tiny.{kind}emb.tokens").read_text("utf-8").split()
    assert list(table.tokens) == tokens

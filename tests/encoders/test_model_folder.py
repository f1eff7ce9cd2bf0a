"""Which models are loaded, and which are refused before anything in them can run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encoders.minilm import require_minilm
from recbole_darec.encoders import encode_texts
from recbole_darec.encoders.model_folder import ModelSource, find_model
from recbole_darec.errors import OptionError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of all-MiniLM-L6-v2 that a test may spoil; its weights are a link."""
    source = Path(find_model(require_minilm()).folder)
    folder = tmp_path / "model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    return folder


def write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("exploded"),))


def test_the_revision_is_that_of_the_content(copy: Path) -> None:
    packaged = find_model(require_minilm())
    assert find_model(str(copy)).revision == packaged.revision
    (copy / "README.md").write_text("other words", encoding="utf-8")
    (copy / ".cache").mkdir()
    write(copy / ".cache" / "x.json", {})
    assert find_model(str(copy)).revision == packaged.revision
    write(copy / "sentence_bert_config.json", {"max_seq_length": 128})
    assert find_model(str(copy)).revision != packaged.revision


def test_a_worker_with_another_folder_refuses(copy: Path) -> None:
    source = find_model(str(copy))
    assert source.here() == source
    other = ModelSource(source.name, source.folder, "sha256:0", on_hub=False)
    with pytest.raises(OptionError, match="another model on this machine"):
        other.here()


def test_a_class_of_its_own_is_not_imported(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(copy))
    (copy / "evil.py").write_text("open('exploded', 'w')\nclass Model: pass\n", encoding="utf-8")
    write(copy / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "evil.Model"}])
    with pytest.raises(OptionError, match=r"needs code of its own \('evil.Model' in modules.json"):
        encode_texts(["a"], str(copy))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("2_Dense/config.json", {"in_features": 3, "activation_function": "os.system"}),
        ("router_config.json", {"types": {"query_0": "evil.Model"}}),
    ],
)
def test_a_class_named_in_a_part_is_not_imported(copy: Path, file: str, content: dict) -> None:
    write(copy / file, content)
    with pytest.raises(OptionError, match="needs code of its own"):
        find_model(str(copy))


def test_pickled_weights_are_not_loaded(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    row = encode_texts(["a"], str(copy), show_progress=False)  # safetensors are beside it
    (copy / "model.safetensors").unlink()
    with pytest.raises(OptionError, match=r"weights as a pickle \(pytorch_model.bin\)"):
        encode_texts(["a"], str(copy))
    assert np.isfinite(row).all()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", ["{", "\xff", "[" * 100_000])
def test_broken_json_is_one_line(copy: Path, content: str) -> None:
    (copy / "modules.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(OptionError, match=r"modules.json is no JSON"):
        find_model(str(copy))


def test_a_name_of_the_hub_is_found_in_its_cache_with_its_commit(
    copy: Path, tmp_path: Path
) -> None:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    (cached / "snapshots").mkdir()
    copy.rename(cached / "snapshots" / commit)
    code = (
        "from recbole_darec.encoders import parse_encoder\n"
        "for name in ('all-MiniLM-L6-v2', 'sentence-transformers/all-MiniLM-L6-v2'):\n"
        "    encoder = parse_encoder('st:' + name)\n"
        "    print(encoder.name, encoder.revision, encoder.identity)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    name = "st:sentence-transformers/all-MiniLM-L6-v2"
    assert done.stdout.splitlines() == [f"{name} {commit} {name}@{commit}"] * 2


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"neither modules\.json nor config\.json"):
        find_model(str(tmp_path))

"""Which models are loaded, and which are refused before anything in them can run."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from embeddings.encoders.minilm import require_minilm
from recbole_darec.embeddings.encoders import encode_texts
from recbole_darec.embeddings.encoders.model_folder import ModelSource, find_model
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


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"neither modules\.json nor config\.json"):
        find_model(str(tmp_path))

"""The public command makes the committed ml-100k profiles: one mechanism, not two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_darec.cli.main import main

SAMPLE = Path(__file__).resolve().parents[2] / "atomic_data" / "ml-100k"


def test_the_template_command_makes_the_committed_files_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "made"
    arguments = ["profile", "--profiler=template", "--dataset=ml-100k", "--domain=movies"]
    assert main([*arguments, f"--out={out}"]) == 0
    names = {f"ml-100k.{kind}profile.jsonl" for kind in ("item", "user")}
    assert {path.name for path in out.iterdir()} == {*names, "ml-100k.profile.json"}
    assert {path.name for path in SAMPLE.glob("*.jsonl")} == names
    for name in names:
        assert (out / name).read_bytes() == (SAMPLE / name).read_bytes()
    note = json.loads((out / "ml-100k.profile.json").read_text(encoding="utf-8"))
    embedded = json.loads((SAMPLE / "ml-100k.useremb.json").read_text(encoding="utf-8"))
    assert note["split"] == embedded["split"], "what training compares with its own"
    assert note["profiler"] == "template"
    assert note["profiles"] == {"item": 1682, "user": 943}
    assert list(tmp_path.iterdir()) == [out], "no store, and nothing else beside it"


def test_another_domain_makes_other_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the domain is what tells the columns' meaning."""
    monkeypatch.chdir(tmp_path)
    arguments = ["profile", "--profiler=template", "--dataset=ml-100k", "--domain=books"]
    assert main([*arguments, f"--out={tmp_path}"]) == 0
    text = (tmp_path / "ml-100k.itemprofile.jsonl").read_text(encoding="utf-8")
    assert "A book" in text
    assert "A movie" not in text

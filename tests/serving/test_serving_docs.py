"""The examples of docs/serving.md, on a trained model's vectors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from recbole_darec import export, recommend
from serving.trained import Trained


def example(mark: str) -> str:
    text = (REPOSITORY / "docs" / "serving.md").read_text("utf-8")
    found = re.search(rf"<!-- test: {mark} -->\n```python\n(.*?)^```$", text, re.M | re.S)
    assert found is not None
    assert len([line for line in found[1].splitlines() if line and "import" not in line]) <= 13
    return found[1]


@pytest.fixture
def vectors(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    export(trained.checkpoint, "vectors")
    return tmp_path


def test_faiss(vectors: Path, trained: Trained) -> None:
    names: dict[str, Any] = {}
    exec(compile(example("faiss"), "docs/serving.md", "exec"), names)
    expected = recommend(trained.checkpoint, names["users"]["id"].tolist(), exclude="none")
    assert names["recommended"].ravel().tolist() == expected["item_id"].tolist()


@pytest.mark.slow
def test_pgvector(vectors: Path, trained: Trained) -> None:
    pgserver = pytest.importorskip("pgserver", reason="needs pgserver: PostgreSQL with pgvector")
    pytest.importorskip("psycopg", reason="needs psycopg, PostgreSQL's client")
    server = pgserver.get_server(vectors / "database")
    try:
        code = example("pgvector").replace('"dbname=shop"', repr(server.get_uri()))
        names: dict[str, Any] = {}
        exec(compile(code, "docs/serving.md", "exec"), names)
    finally:
        server.cleanup()
    expected = recommend(trained.checkpoint, ["u7"], exclude="none")
    assert [item for (item,) in names["nearest"]] == expected["item_id"].tolist()

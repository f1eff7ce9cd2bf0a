"""docs/quickstart.ipynb: from a CSV and texts to recommendations."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY, environment
from encoders.minilm import require_minilm
from nbclient import NotebookClient

NOTEBOOK = REPOSITORY / "docs" / "quickstart.ipynb"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = require_minilm()
    book = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.source = cell.source.replace('"st:all-MiniLM-L6-v2"', f'"st:{encoder}"')
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    shown = ["".join(str(output) for output in cell.outputs) for cell in cells]
    assert re.search(r"'recall@5': 0\.[5-9]", shown[4])
    # Three customers of tea, tools and toys, three items each.
    assert len(re.findall(r"c0 +\d +tea|c1 +\d +tool|c2 +\d +toy", shown[5])) >= 6
    assert len(re.findall(r"today +\d +tea", shown[6])) == 3


def test_it_is_small_and_names_no_place() -> None:
    text = NOTEBOOK.read_text("utf-8")
    book = nbformat.reads(text, as_version=4)
    assert sum(cell.cell_type == "code" for cell in book.cells) == 8
    assert all(cell.outputs for cell in book.cells[2:] if cell.cell_type == "code")
    assert len(text) < 20_000
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)

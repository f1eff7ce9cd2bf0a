"""An atomic file that a spreadsheet or an editor saved: its byte order mark is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_darec.testing.tiny_dataset import TinyDataset
from recbole_darec.testing.tiny_runs import prepared

FILES = ["tiny.train.inter", "tiny.valid.inter", "tiny.item"]


@pytest.mark.parametrize("file", FILES)
def test_a_marked_file(file: str, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    folder = tmp_path / "dataset" / "tiny"
    (folder / "tiny.item").write_text("item_id:token\tyear:float\n" + "i1\t1999\ni2\t2001\n")
    load = {"inter": ["user_id", "item_id"], "item": ["item_id", "year"]}
    plain = prepared(tmp_path / "dataset", align="none", load_col=load).dataset
    path = folder / file
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    marked = prepared(tmp_path / "dataset", align="none", load_col=load).dataset
    assert marked.inter_feat["item_id"].tolist() == plain.inter_feat["item_id"].tolist()
    assert marked.item_feat["year"].tolist() == plain.item_feat["year"].tolist()
    assert {1999.0, 2001.0} <= set(marked.item_feat["year"].tolist())

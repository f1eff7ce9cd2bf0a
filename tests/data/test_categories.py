"""Columns of text read as categories, by pyarrow and without it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_darec.data import categories


@pytest.mark.parametrize("without_pyarrow", [False, True])
@pytest.mark.parametrize("texts", [["007", "7", "3", "007"], ["ä b", "NA", "x", "", "null", "ä b"]])
def test_texts_and_gaps_are_pandas_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_pyarrow: bool, texts: list[str]
) -> None:
    path = tmp_path / "x.inter"
    path.write_text("a\tb\n" + "".join(f"{text}\t1\n" for text in texts), encoding="utf-8")
    expected = pd.read_csv(path, sep="\t", dtype=str, engine="python")["a"]
    monkeypatch.setattr(categories, "_ROWS", 2)
    if without_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    found = categories.read_categories(path, "\t", ["a"])["a"]
    assert list(pd.isna(found)) == list(expected.isna())
    assert list(found.dropna()) == list(expected.dropna())
    assert all(isinstance(text, str) for text in found.categories)


def test_a_cell_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    path.write_bytes(b"a\tb\n\xff\t1\n")
    with pytest.raises(ValueError, match=r"(?i)utf"):
        categories.read_categories(path, "\t", ["a"])


def test_unused_categories_go_and_tables_share_theirs() -> None:
    column = pd.Series(pd.Categorical(["x", None, "z"], categories=["x", "y", "z"]))
    assert list(categories.categories_of(column).categories) == ["x", "z"]
    columns = [pd.Series(texts) for texts in (["p", "q"], ["q", "r"])]
    frames = [pd.DataFrame({"a": categories.categories_of(column)}) for column in columns]
    joined = pd.concat(categories.joined_categories(frames), ignore_index=True)
    assert isinstance(joined["a"].dtype, pd.CategoricalDtype)
    np.testing.assert_array_equal(joined["a"].astype(object), ["p", "q", "q", "r"])

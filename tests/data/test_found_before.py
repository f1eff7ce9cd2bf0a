"""What is found on a data set is kept for later runs, and nothing depends on its being there."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_darec.data import found_before
from recbole_darec.data.found_before import FoundBefore


def test_numbers_come_back_in_another_process_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "tiny.filter.cache"
    assert FoundBefore(path).get("a") is None
    FoundBefore(path).keep("a", [0.1, 1e-300, 3])
    FoundBefore(path).keep("b", [2.0])
    assert FoundBefore(path).get("a") == [0.1, 1e-300, 3.0]
    assert FoundBefore(path).get("b") == [2.0]
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.filter.cache"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 3}', '{"a": ["x"]}', "\0"])
def test_a_damaged_file_is_begun_anew(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tiny.filter.cache"
    path.write_text(content)
    kept = FoundBefore(path)
    assert kept.get("a") is None
    assert "damaged" in caplog.text
    kept.keep("a", [1.0])
    assert kept.get("a") == [1.0]


def test_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_before, "_MOST", 2)
    kept = FoundBefore(tmp_path / "file")
    for n, key in enumerate("abc"):
        kept.keep(key, [n])
    assert [kept.get(key) for key in "abc"] == [None, [1.0], [2.0]]


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    FoundBefore(tmp_path / "none" / "file").keep("a", [1.0])
    assert not (tmp_path / "none").exists()

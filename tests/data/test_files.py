"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_darec.data.files import replacing
from recbole_darec.errors import DataError


def test_a_failing_body_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def write(content: bytes, *, fails: bool) -> None:
        with replacing(path) as file:
            file.write(content)
            if fails:
                raise KeyError(content)

    with pytest.raises(KeyError):
        write(b"half", fails=True)
    assert (path.read_text(), [p.name for p in tmp_path.iterdir()]) == ("old", ["notes.txt"])
    write(b"new", fails=False)
    assert (path.read_text(), [p.name for p in tmp_path.iterdir()]) == ("new", ["notes.txt"])


@pytest.mark.parametrize("name", ["", "."])
def test_a_path_without_a_name_is_no_file_to_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is a folder, not a file to write"), replacing(Path(name)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    # What keeps a cache goes on without it, where it cannot be written.
    folder = tmp_path / "kept.cache"
    folder.mkdir()
    with pytest.raises(IsADirectoryError), replacing(folder) as file:
        file.write(b"rows")
    assert list(tmp_path.rglob("*")) == [folder]

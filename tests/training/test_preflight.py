"""What a run will write is checked before it writes; the real small disks are in tests/cli."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_darec.errors import UserError
from recbole_darec.training.preflight import require_room, require_writable


def test_a_folder_that_can_be_made_is_fine_and_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", Path("c"), Path("d/e"), Path()):
        require_writable(folder, "choose another")
        require_room(folder, 1, "choose another")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_a_folder_below_a_file_is_refused_by_name(tmp_path: Path, below: str) -> None:
    (tmp_path / "afile").write_text("")
    folder = Path(f"{tmp_path}/afile{below}")
    with pytest.raises(UserError, match=r"is not a folder; choose another$") as caught:
        require_writable(folder, "choose another")
    assert f"'{folder}'" in str(caught.value)


def test_more_than_the_disk_holds_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MB are free .* 1,000,000,000,000\.0 MB are needed; go"):
        require_room(tmp_path / "new", 10**18, "go elsewhere")

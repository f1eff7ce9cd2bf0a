"""Ordered lists into atomic files: what is read, what is refused, and that nothing is run."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.errors import DataError
from recbole_darec.profiles.inputs import read_material
from recbole_darec.sources.lists.sequences import import_sequences
from recbole_darec.sources.raw.lines import LineFault
from recbole_darec.sources.raw.records import parse_list

LISTS = """\
,user,history
0,ann,"['a', 'b', 'a', 'c']"
1,bob,"[""b"", ""c"", ""d""]"
2,cyd,"['a', 'b']"
3,dan,[]
"""
ITEMS = """\
asin,title,brand
a,Apple &amp; pear,
b,"Bread, <b>white</b>",Mill
c,Cheese,
d,Dates,Palm
e,Eggs,
"""


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    lists, items = tmp_path / "lists.csv", tmp_path / "items.csv"
    lists.write_text(LISTS, "utf-8")
    items.write_text(ITEMS, "utf-8")
    return lists, items


def test_lists_become_interactions_with_ranks_as_times(
    written: tuple[Path, Path], tmp_path: Path
) -> None:
    report = import_sequences("shop", *written, out=tmp_path / "dataset")
    folder = tmp_path / "dataset" / "shop"
    rows = (folder / "shop.inter").read_text("utf-8").splitlines()
    assert rows[0] == "user_id:token\titem_id:token\ttimestamp:float"
    assert rows[1:5] == ["ann\ta\t1", "ann\tb\t2", "ann\ta\t3", "ann\tc\t4"]
    assert (folder / "shop.item").read_text("utf-8").splitlines() == [
        "item_id:token\ttitle:token_seq\tbrand:token_seq",
        "a\tApple & pear\t",
        "b\tBread, white\tMill",
        "c\tCheese\t",
        "d\tDates\tPalm",
    ]
    assert (report.users, report.items, report.empty, report.short) == (3, 4, 1, 1)
    assert report.interactions == {"train": 5, "valid": 2, "test": 2}
    assert (report.unused, report.repeats, report.bought_before) == (1, 0, 0)
    assert report.untrained == {"valid": 1, "test": 2}  # bob's c; ann's c and bob's d


def test_profiles_are_made_of_training_alone_and_of_items_alone(
    written: tuple[Path, Path], tmp_path: Path
) -> None:
    import_sequences("shop", *written, out=tmp_path / "dataset")
    material = read_material("shop", str(tmp_path / "dataset"))
    assert material.pairs() == [("ann", "a"), ("ann", "b"), ("bob", "b"), ("cyd", "a"),
                                ("cyd", "b")]  # fmt: skip
    assert material.counts == {"train": 5, "valid": 2, "test": 2}
    assert material.of_items_alone().users.ids == ()
    assert material.of_items_alone().items.ids == ("a", "b", "c", "d")


def test_json_lines_and_compressed_files_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write('{"user_id": 7, "history": [1, 2, 3]}\n\n{"user_id": "8", "history": ["1"]}\n')
    report = import_sequences("shop", path, out=tmp_path / "dataset")
    assert (report.users, report.items, report.texts) == (2, 3, ())
    assert "7\t2\t2\n" in (tmp_path / "dataset/shop/shop.inter").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1,bob", "1,ann", r"line 3: the user 'ann' has a list in line 2 already"),
        ("['a', 'b']", "__import__('os')", r"line 4: the list of user 'cyd' cannot be read"),
        ("['a', 'b']", "['a', x]", r"line 4: the list of user 'cyd' cannot be read"),
        ("['a', 'b']", "['a', None]", r"line 4: 'None' is no item id"),
        ("['a', 'b']", "['a', 'nan']", r"line 4: the id 'nan' reads as missing"),
        (",user,history", ",user,past", r"none of the columns history, items"),
        (",user,history", ",user", r"line 2: 3 cells, and the header names 2"),
    ],
)
def test_a_faulty_list_is_named_and_nothing_is_written(
    written: tuple[Path, Path], tmp_path: Path, old: str, new: str, message: str
) -> None:
    lists, items = written
    lists.write_text(LISTS.replace(old, new), "utf-8")
    with pytest.raises(DataError, match=message):
        import_sequences("shop", lists, items, out=tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_texts_that_lack_items_are_refused(written: tuple[Path, Path], tmp_path: Path) -> None:
    lists, items = written
    items.write_text(ITEMS.replace("c,Cheese,", "c,,").replace("d,Dates,Palm\n", ""), "utf-8")
    with pytest.raises(DataError, match=r"no text for 2 of the 4 items of the lists \(c, d\)"):
        import_sequences("shop", lists, items, out=tmp_path / "dataset")


def test_no_user_with_three_items_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    path.write_text("user,history\nann,\"['a', 'b']\"\n", "utf-8")
    with pytest.raises(DataError, match="no user has three interactions"):
        import_sequences("shop", path, out=tmp_path / "dataset")


@given(st.lists(st.text() | st.integers()))
def test_a_list_as_python_prints_it_is_read_back(given_list: list[str | int]) -> None:
    assert parse_list(repr(given_list)) == given_list


@pytest.mark.parametrize("text", ["{}", "'a'", "[1", "[1] [2]", "[a]", "[print(1)]", ""])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(LineFault):
        parse_list(text)


def test_prime_pantry_goes_in_as_it_is(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "prime_pantry"
    if not folder.is_dir():
        pytest.skip("no Prime Pantry beside the repository")
    report = import_sequences(
        "prime_pantry",
        folder / "Prime_Pantry_cleaned_history.csv",
        folder / "metadata_Prime_Pantry.csv",
        out=tmp_path,
    )
    assert (report.users, report.items, report.short) == (12_871, 8_347, 0)
    assert report.interactions == {"train": 89_262, "valid": 12_871, "test": 12_871}
    assert (report.repeats, report.bought_before) == (4_046, 336)
    assert report.untrained == {"valid": 443, "test": 813}

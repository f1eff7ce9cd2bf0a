"""The comparison of two stacks says which metrics differ; the recorded one says that none does."""

from __future__ import annotations

import csv
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY

from recbole_darec.errors import DataError

SCRIPT = REPOSITORY / "docs" / "results" / "stack_equality.py"
RECORDED = REPOSITORY / "docs" / "results" / "stack_equality.csv"
HEAD = "model,align,part,metric,value,stack\n"

Compare = Callable[..., int]


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """``compare(first, second, *options)``: the rows of two files, and the exit code."""
    main = runpy.run_path(str(SCRIPT))["main"]

    def run(first: str, second: str, *options: str) -> int:
        names = []
        for name, rows in (("pinned", first), ("current", second)):
            names.append(str(tmp_path / f"{name}.csv"))
            Path(names[-1]).write_text(HEAD + rows)
        monkeypatch.setattr(sys, "argv", ["stack_equality.py", "compare", *names, *options])
        return main()

    return run


ROWS = "SGL,none,test,recall@20,0.25,here\nNCL,none,test,recall@20,0.5,here\n"


@pytest.mark.parametrize(
    ("value", "code"), [("0.5", 0), ("0.5000009", 0), ("0.5000011", 1), ("nan", 1)]
)
def test_a_difference_above_a_millionth_is_told(
    value: str, code: int, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(ROWS, ROWS.replace("0.5,", f"{value},")) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| SGL | none | 1 | 0.0e+00 |"
    assert lines[3].startswith("| NCL | none | 1 | ")


def test_both_are_written_side_by_side(compare: Compare, tmp_path: Path) -> None:
    both = tmp_path / "both.csv"
    assert compare(ROWS, ROWS.replace("0.25", "0.75"), "--tolerance", "1", "--out", str(both)) == 0
    assert both.read_text().splitlines() == [
        "model,align,part,metric,pinned,current",
        "SGL,none,test,recall@20,0.25,0.75",
        "NCL,none,test,recall@20,0.5,0.5",
    ]


def test_a_missing_metric_and_a_foreign_file_are_errors(compare: Compare) -> None:
    with pytest.raises(DataError, match=r"only one of .* has NCL none test recall@20"):
        compare(ROWS, ROWS.splitlines()[0] + "\n")
    with pytest.raises(DataError, match="is not a file of stack_equality"):
        compare(ROWS, "")


def test_what_is_recorded_is_equal_to_a_millionth() -> None:
    with RECORDED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["align"]) for row in rows} == {
        (model, align) for model in ("LightGCN", "SGL", "NCL") for align in ("none", "darec")
    }
    assert all(abs(float(row["pinned"]) - float(row["current"])) <= 1e-6 for row in rows)

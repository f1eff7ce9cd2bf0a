"""Every number of a table that `recbole-darec compare` wrote into a document is in the stored CSV.

A table is marked by a line before it, `<!-- compare: FILE.csv DATASET -->`, with the path from the
repository's root.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

_MARK = re.compile(r"<!-- compare: (\S+) (\S+) -->\n+((?:\|.*\|\n?)+)")
_DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def tables_of(text: str) -> list[tuple[str, str, list[list[str]]]]:
    """File, data set and rows of each marked table, the header first."""
    return [
        (file, dataset, [[cell.strip() for cell in line.strip().strip("|").split("|")]
                         for line in table.strip().splitlines() if not line.startswith("| ---")])
        for file, dataset, table in _MARK.findall(text)
    ]  # fmt: skip


def faults(rows: list[list[str]], stored: list[dict[str, str]]) -> list[str]:
    """Cells of a table that the stored rows do not have."""
    header, *lines = rows
    by_place = {(r["backbone"], r["method"], r["metric"]): r for r in stored}
    found = []
    for line in lines:
        metric = ""
        for name, cell in zip(header, line):
            if "@" in name:
                metric = name
            row = by_place.get((line[0], line[1], metric))
            wanted = cell if row is None else _wanted(name, row, cell)
            if row is None and metric:
                found.append(f"{line[0]} {line[1]} {metric} is not stored")
            elif wanted != cell:
                found.append(f"{line[0]} {line[1]} {name}: {cell} is {wanted}")
    return found


def _wanted(name: str, row: dict[str, str], cell: str) -> str:
    if "@" in name:
        mean, deviation = row["mean"], row["deviation"]
        return f"{float(mean):.4f}" + (f" ± {float(deviation):.4f}" if deviation else "")
    for side, title in (("rival", "over the best rival"), ("base", "over ")):
        if name.startswith(title):
            gain, p_value = row[f"{side}_gain"], row[f"{side}_p_t_holm"]
            if not gain:
                return ""
            return f"{100 * float(gain):+.1f} %" + (
                "†" if p_value and float(p_value) < 0.05 else ""
            )
    if name == "reported":
        return f"{float(row['reported']):.4f}" if row["reported"] else ""
    return row["setting"] if name == "setting" else cell


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_the_numbers_of_a_document_are_stored(path: Path) -> None:
    for file, dataset, rows in tables_of(path.read_text("utf-8")):
        with (REPOSITORY / file).open(newline="", encoding="utf-8") as stored:
            kept = [row for row in csv.DictReader(stored) if row["dataset"] == dataset]
        assert not faults(rows, kept), file


def test_a_wrong_number_is_noticed() -> None:
    text = (
        "<!-- compare: x.csv d -->\n\n"
        "| backbone | method | recall@20 | over none | over the best rival |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| LightGCN | darec | 0.1235 ± 0.0100 | +2.0 %† | -1.0 % |\n"
    )
    ((_, _, rows),) = tables_of(text)
    stored = {
        "backbone": "LightGCN", "method": "darec", "metric": "recall@20", "setting": "",
        "mean": "0.1234", "deviation": "0.01", "base_gain": "0.0201", "base_p_t_holm": "0.03",
        "rival_gain": "-0.01", "rival_p_t_holm": "0.3", "reported": "",
    }  # fmt: skip
    assert faults(rows, [stored]) == [
        "LightGCN darec recall@20: 0.1235 ± 0.0100 is 0.1234 ± 0.0100"
    ]
    assert faults(rows, [{**stored, "mean": "0.1235"}]) == []
    assert faults(rows, [{**stored, "mean": "0.1235", "base_p_t_holm": "0.06"}]) == [
        "LightGCN darec over none: +2.0 %† is +2.0 %"
    ]
    assert faults(rows, []) == ["LightGCN darec recall@20 is not stored"] * 3

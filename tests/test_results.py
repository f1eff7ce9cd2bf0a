"""Every number of a table of results is in a stored CSV.

A table that `recbole-darec compare` wrote is marked by a line before it,
`<!-- compare: FILE.csv DATASET -->`, with the path from the repository's root.  One that was put
together from stored rows is marked by

    <!-- stored: FILE.csv FILE.csv; row: KEY; where: KEY=VALUE; columns: SPEC | SPEC; bold: KEY -->

Its first column has a value of `row` in each line, and each further one a SPEC,
`KEY=VALUE … FIELD`: the mean of a field over the rows that have all these values, or
`SPEC / SPEC`, a quotient, or `SPEC / SPEC - 1`, a gain; of two values of one KEY the later counts.
What is bold has a `bold` below 0.05, and nothing else has.  A blank in
a value is written as `_`.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY

Row = dict[str, str]

_MARK = re.compile(r"<!-- compare: (\S+) (\S+) -->\n+((?:\|.*\|\n?)+)")
_STORED = re.compile(r"<!-- stored: ([^>]+) -->\n+((?:\|.*\|\n?)+)")
_TABLE = re.compile(r"(?:^|\n)([^\n]*)\n+((?:\|.*\|\n?)+)")
_SIGNIFICANT = 0.05
_DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def tables_of(text: str) -> list[tuple[str, str, list[list[str]]]]:
    """File, data set and rows of each marked table, the header first."""
    return [(file, dataset, _cells(table)) for file, dataset, table in _MARK.findall(text)]


def _cells(table: str) -> list[list[str]]:
    lines = (line for line in table.strip().splitlines() if not line.startswith("| ---"))
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]


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
            method, _, seeds = line[1].partition(" (")
            row = by_place.get((line[0], method, metric))
            if row is not None and seeds and row["seeds"] != seeds.partition(" ")[0]:
                found.append(f"{line[0]} {method}: {row['seeds']} seeds, not {seeds.strip(')')}")
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


def stored_faults(mark: str, table: str, read: Callable[[str], list[Row]]) -> list[str]:
    """Cells of a table that was put together from stored rows, and that these do not have."""
    files, *parts = (part.strip() for part in mark.split(";"))
    given = {name.strip(): text.strip() for name, _, text in (p.partition(":") for p in parts)}
    rows = [row for file in files.split() for row in read(file)]
    columns, bold = given["columns"].split(" | "), given.get("bold")
    _, *lines = _cells(table)
    found = []
    for label, *cells in lines:
        own = f"{given['row']}={label.strip('`*').replace(' ', '_')} {given.get('where', '')}"
        for column, cell in zip(columns, cells, strict=True):
            wanted = _shown(own, column, cell.strip("*"), rows, bold)
            if wanted != cell:
                found.append(f"{label}, {column}: {cell} is {wanted}")
    return found


def _shown(own: str, column: str, cell: str, rows: list[Row], bold: str | None) -> str:
    """Return what a cell is to be, with as many digits as it has, two of them significant."""
    above, _, below = column.partition(" / ")
    below, gain, _ = below.partition(" - 1")
    matching, value = _mean(f"{own} {above}", rows)
    if value is None:
        return ""
    if below:
        value = value / (_mean(f"{own} {below}", rows)[1] or math.nan) - bool(gain)
    number, percent = cell.removesuffix(" %"), cell.endswith(" %")
    digits = len(number.partition(".")[2])
    if percent:
        digits = max(digits, 1)
    elif value:
        digits = max(digits, 1 - math.floor(math.log10(abs(value))))
    text = f"{100 * value:+.{digits}f} %" if percent else f"{value:.{digits}f}"
    if bold is not None and len(matching) == 1 and matching[0][bold]:
        return f"**{text}**" if float(matching[0][bold]) < _SIGNIFICANT else text
    return text


def _mean(spec: str, rows: list[Row]) -> tuple[list[Row], float | None]:
    """Return the rows that a specification names, and the mean of its field over them."""
    *conditions, field = spec.split()
    wanted = dict(condition.split("=", 1) for condition in conditions)
    found = [row for row in rows if all(row[k].replace(" ", "_") == v for k, v in wanted.items())]
    values = [float(row[field]) for row in found if row[field]]
    return found, sum(values) / len(values) if values else None


def _read(file: str) -> list[Row]:
    with (REPOSITORY / file).open(newline="", encoding="utf-8") as stored:
        return list(csv.DictReader(stored))


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_the_numbers_of_a_table_that_was_put_together_are_stored(path: Path) -> None:
    for mark, table in _STORED.findall(path.read_text("utf-8")):
        assert not stored_faults(mark, table, _read), mark


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_every_table_of_results_says_where_its_numbers_are_stored(name: str) -> None:
    for before, table in _TABLE.findall((REPOSITORY / name).read_text("utf-8")):
        numbers = [cell for row in _cells(table)[1:] for cell in row if re.search(r"\d\.\d", cell)]
        if numbers:
            assert before.startswith(("<!-- compare: ", "<!-- stored: ")), numbers


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_the_numbers_of_a_document_are_stored(path: Path) -> None:
    for file, dataset, rows in tables_of(path.read_text("utf-8")):
        kept = [row for row in _read(file) if row["dataset"] == dataset]
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


def test_a_wrong_number_of_stored_rows_is_noticed() -> None:
    rows = [
        {"d": d, "m": m, "gain": gain, "p": p}
        for d, m, gain, p in (
            ("x", "con", "0.348", "0.003"), ("y", "con", "-0.0004", "0.9"),
            ("x", "con shuffled", "", ""), ("x", "none", "0.5", ""), ("y", "none", "0.25", ""),
        )
    ]  # fmt: skip

    def found(mark: str, *cells: str) -> list[str]:
        table = f"| a | b |\n| --- | --- |\n| {' | '.join(cells)} |\n"
        return stored_faults(mark, table, lambda file: rows)

    gains = "f.csv; row: m; columns: d=x gain | d=y gain | gain; bold: p"
    assert not found(gains, "`con`", "**+34.8 %**", "-0.0 %", "+17.4 %")
    assert not found(gains, "con shuffled", "", "", "")
    assert found(gains, "con", "+34.8 %", "-0.0 %", "+17.4 %") == [
        "con, d=x gain: +34.8 % is **+34.8 %**"
    ]
    assert found(gains, "con", "**+34.9 %**", "**-0.0 %**", "") == [
        "con, d=x gain: **+34.9 %** is **+34.8 %**",
        "con, d=y gain: **-0.0 %** is -0.0 %",
        "con, gain:  is 0.17",
    ]
    assert found("f.csv; row: m; columns: p", "con", "0") == ["con, p: 0 is 0.45"]
    ratio = "f.csv; row: d; columns: m=none gain | m=con gain / m=none gain"
    assert not found(ratio, "x", "0.50", "0.70")
    over = "f.csv; row: m; where: d=x; columns: gain / m=none gain - 1"
    assert not found(over, "con", "-30.4 %")
    assert found(over, "con", "+69.6 %") == ["con, gain / m=none gain - 1: +69.6 % is -30.4 %"]
    assert found(ratio, "x", "0.50", "0.71") == ["x, m=con gain / m=none gain: 0.71 is 0.70"]

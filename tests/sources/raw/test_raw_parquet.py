"""Rows of a Parquet file in columns are what they are row by row: files, report, faults."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.sources.raw import parts

from . import makers
from .test_raw_columns import Alone, Form, check_both, forbid_lines, prepared

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

FORM = Form("amazon", "Books.parquet", "", "")
TEXTS = ["fine", 'It\'s "so"\n\nlong', "a  b", "ü <br /> &amp; 😀", "", None]


def reviews(n: int = 300) -> list[dict[str, Any]]:
    return [
        makers.amazon_2023(f"u{u}", f"ü{i}", 3.0 + k % 3, 10**9 + k % 28, TEXTS[k % 6])
        for k, (u, i) in enumerate(makers.pairs(1, 20, 40, n))
    ]


def old_reviews(n: int = 300) -> list[dict[str, Any]]:
    return [
        makers.amazon_2018(f"u{u}", f"ü{i}", 3.0 + k % 3, 10**9 + k % 28, TEXTS[k % 5])
        for k, (u, i) in enumerate(makers.pairs(1, 20, 40, n))
    ]


def write(folder: Path, table: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / FORM.file)
    return folder


def without(records: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{key: one[key] for key in one if key not in names} for one in records]


@pytest.mark.parametrize(
    "records",
    [
        reviews(),
        old_reviews(),
        without(reviews(), "parent_asin"),
        without(reviews(), "text"),
        without(reviews(), "text", "title"),
    ],
    ids=["2023", "2018", "variants", "title alone", "no text"],
)
@pytest.mark.parametrize("size", [64, 16_384])
def test_no_plain_row_is_read_alone(
    records: list[dict[str, Any]], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(tmp_path / "raw", pa.Table.from_pylist(records))
    monkeypatch.setattr(parts, "_ROWS", size)
    given_ = {"min_rating": 3.5, "k_core": 2}
    found = check_both(FORM, raw, 0.0, **given_)
    forbid_lines(monkeypatch, FORM)
    assert prepared(FORM, raw, tmp_path / "o", max_faults=0.0, **given_) == found
    report, files = found
    assert (report.read, report.faults[0].lines) == (300, 300)
    assert 100 < report.kept < 300
    texts = {"text", "title", "reviewText"} & set(records[0])
    assert bool(files["d.reviews.jsonl"]) == bool(texts)


VALUES: dict[str, Any] = {
    "user_id": st.sampled_from(["u1", "u2", None, "", "NA", 'a"b', "a\tb", " x", "[PAD]"]),
    "parent_asin": st.sampled_from(["i1", "i2", None, "nan", "\x85"]),
    "rating": st.sampled_from([1.0, 5.0, -0.0, None, math.nan, math.inf]),
    "timestamp": st.sampled_from([0, 10**12, -5, 2**60 + 1, None]),
    "text": st.sampled_from(["good", "", None, "  so\nlong "]),
    "title": st.sampled_from(["title", "", None]),
}
TYPES = {
    "user_id": [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())],
    "parent_asin": [pa.string(), pa.large_string()],
    "rating": [pa.float64(), pa.float32(), pa.float16()],
    "timestamp": [pa.int64(), pa.float64()],
    "text": [pa.string(), pa.large_string()],
    "title": [pa.string()],
}


@given(data=st.data())
def test_columns_are_what_rows_are(data: st.DataObject, tmp_path_factory: Any) -> None:
    records = reviews(40)
    for _ in range(data.draw(st.integers(0, 3))):
        row, key = data.draw(st.integers(0, 39)), data.draw(st.sampled_from(sorted(VALUES)))
        records[row][key] = data.draw(VALUES[key])
    columns = {}
    for key, types in TYPES.items():
        values, kind = [one[key] for one in records], data.draw(st.sampled_from(types))
        if kind == pa.float16():
            values = [None if v is None else np.float16(v) for v in values]
        if kind == pa.float64() and key == "timestamp":
            values = [None if v is None else float(v) for v in values]
        columns[key] = pa.array(values, kind)
    raw = write(tmp_path_factory.mktemp("p") / "raw", pa.table(columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_ROWS", data.draw(st.sampled_from([7, 16_384])))
        check_both(FORM, raw, data.draw(st.sampled_from([0.0, 1.0])))


@pytest.mark.parametrize("kind", [pa.int64(), pa.bool_(), pa.timestamp("ms")])
def test_other_types_are_left_to_the_parser_of_rows(kind: Any, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(without(reviews(), "timestamp", "user_id"))
    for name in ("timestamp", "user_id"):
        values = pa.array([n % 2 for n in range(len(table))], pa.int64())
        table = table.append_column(name, values.cast(kind))
    check_both(FORM, write(tmp_path / "raw", table), 1.0)


def test_a_row_alone_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = reviews()
    records[5]["user_id"] = None
    raw = write(tmp_path / "raw", pa.Table.from_pylist(records))
    forbid_lines(monkeypatch, FORM)
    with pytest.raises(Alone):
        prepared(FORM, raw, tmp_path / "o", k_core=0, max_faults=1.0)

"""MIND's behaviours in columns are what they are line by line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.sources.raw.dates import us_seconds
from recbole_darec.sources.raw.lines import LineFault, read_blocks
from recbole_darec.sources.raw.mind import _seconds
from recbole_darec.sources.raw.prepare import SOURCES

from .test_raw_columns import Form, blocks_of, check_both, forbid_lines, prepared, write_raw

FORM = Form("mind", "behaviors.tsv", "", "{u}\t{i}")

USERS = st.sampled_from(["U1", "U2", "U3", "U-4", "U" + "5" * 12])
NEWS = st.sampled_from(["N1", "N2", "N3", "N44", "N-5", "N" + "6" * 9, 'N"7', "7"])
TIMES = st.sampled_from(
    ["11/11/2019 9:05:58 AM", "1/2/2019 12:00:00 PM", "11/3/2019 12:59:59 AM", "2/31/2019 23:00:01"]
)
SHOWN = st.tuples(NEWS, st.sampled_from(["-0", "-1"])).map("".join)


@st.composite
def plain_lines(draw: st.DrawFn) -> str:
    history = " ".join(draw(st.lists(NEWS, max_size=4)))
    marked = draw(st.booleans())  # the test part tells no clicks, and has no news with a dash
    shown = draw(st.lists(SHOWN if marked else st.sampled_from(["N1", "N2"]), max_size=4))
    return "\t".join(["1", draw(USERS), draw(TIMES), history, " ".join(shown)])


ODD_CELLS = [
    "", " ", "N1  N2", " N1", "N1 ", "N1-2", "N1-", "-1", "-0", "N1-1-1", "nan-1", "null", "ü-1",
    "N1\x0bN2-1", "N1\x00-1", "[PAD]-1", "11/11/2019", "0/11/2019 9:05:58 AM", "N2-1 N1",
    " 11/11/2019 9:05:58 AM", "13/11/2019 9:05:58 AM", "11/11/2019 13:05:58 AM", "U 1",
]  # fmt: skip


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A file with plain lines, many and some twice, and what is odd, little."""
    end, text = draw(st.sampled_from(["\n", "\n", "\r\n"])), ""
    known = draw(st.lists(plain_lines(), min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 10))):
        text += "".join(draw(st.lists(st.sampled_from(known), min_size=1, max_size=4).map(
            lambda lines: [line + end for line in lines]
        )))  # fmt: skip
        cells = draw(st.sampled_from(known)).split("\t")
        match draw(st.sampled_from(["plain", "plain", "cell", "more", "fewer", "empty"])):
            case "cell":
                cells[draw(st.integers(0, 4))] = draw(st.sampled_from(ODD_CELLS))
            case "more":
                cells.append("x")
            case "fewer":
                cells.pop()
            case "empty":
                cells = []
        text += "\t".join(cells) + end
    return text.encode().removesuffix(b"\n" if draw(st.booleans()) else b"x")


@settings(max_examples=60)
@given(data=st.data())
def test_columns_are_what_lines_are(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text, pack = data.draw(contents()), data.draw(st.booleans())
    raw = tmp_path_factory.mktemp("mind") / "raw"
    for part in ("train", "dev")[: data.draw(st.integers(1, 2))]:
        (raw / part).mkdir(parents=True)
        path = raw / part / ("behaviors.tsv" + ".gz" * pack)
        path.write_bytes(gzip.compress(text, 1, mtime=0) if pack else text)
    split = data.draw(st.sampled_from(["3:1:1", "leave-one-out"]))
    with blocks_of(data.draw(st.sampled_from([1, 90, 400, 1 << 20]))):
        check_both(FORM, raw, data.draw(st.sampled_from([0.002, 1.0, 1.0])), split=split)


def behaviours(n: int) -> list[str]:
    """Lines of 40 users whose histories change from time to time."""
    rng = np.random.default_rng(3)
    lines = []
    for k in range(n):
        user = int(rng.integers(40))
        history = " ".join(f"N{(user + j) % 60}" for j in range(k * 5 // n))
        shown = " ".join(f"N{item}-{int(item % 4 == 0)}" for item in rng.integers(0, 60, 12))
        time = f"11/{k % 28 + 1}/2019 {k % 12 + 1}:{k % 60:02d}:05 {'AP'[k % 2]}M"
        lines.append(f"{k}\tU{user}\t{time}\t{history}\t{shown}")
    return lines


@pytest.mark.parametrize(("end", "pack"), [("\n", False), ("\r\n", True)])
def test_no_plain_line_is_read_or_written_alone(tmp_path: Path, end: str, pack: bool) -> None:
    text = "".join(line + end for line in behaviours(300)).encode()
    write_raw(FORM, tmp_path / "raw", text, pack)
    with blocks_of(2000) as patch:
        found = check_both(FORM, tmp_path / "raw", 0.0)
        forbid_lines(patch, FORM)
        again = prepared(FORM, tmp_path / "raw", tmp_path / "o", k_core=0, max_faults=0.0)
    assert again == found
    assert found[0].faults[0].lines == 300
    assert found[0].read > 900


@pytest.mark.parametrize("odd", ["1\tU1\t11/11/2019 9:05:58 AM\tN0\tN1-2", "", "1\tU 1\t\t\t\t"])
def test_what_is_odd_is_left_to_the_parser_of_lines(tmp_path: Path, odd: str) -> None:
    lines = behaviours(30)
    lines.insert(17, odd)
    path = write_raw(FORM, tmp_path / "raw", "".join(line + "\n" for line in lines).encode())
    reader = SOURCES["mind"](tmp_path / "raw").columns
    assert reader is not None
    assert [reader.read(block) is None for block in read_blocks(path)] == [False, True]
    check_both(FORM, tmp_path / "raw", 1.0)


def test_a_line_with_too_many_interactions_is_a_fault(tmp_path: Path) -> None:
    shown = " ".join(["N1-1"] * 65_536)
    lines = [*behaviours(3), f"1\tU1\t11/11/2019 9:05:58 AM\t\t{shown}", *behaviours(3)]
    write_raw(FORM, tmp_path / "raw", "\n".join(lines).encode())
    report = check_both(FORM, tmp_path / "raw", 1.0)[0]
    assert list(report.faults[0].found) == ["more than 65,535 interactions"]


NUMBERS = st.sampled_from(
    ["0", "1", "2", "9", "00", "01", "09", "12", "13", "24", "31", "59", "99"]
)
DATES = st.tuples(
    st.sampled_from(["", " "]), NUMBERS, st.sampled_from("/-"), NUMBERS, st.just("/"),
    st.sampled_from(["2019", "0000", "0001", "201", "9999", "20x9"]), st.sampled_from([" ", "T"]),
    NUMBERS, st.just(":"), NUMBERS, st.just(":"), NUMBERS,
    st.sampled_from([" AM", " PM", "", "AM", " am", " XM", " A", " PMS"]),
).map("".join)  # fmt: skip


def one(text: str) -> Any:
    try:
        return _seconds(text)
    except LineFault:
        return None


@settings(max_examples=400)
@given(st.lists(DATES | TIMES, min_size=1, max_size=3))
def test_dates_in_columns_are_those_of_one_text(texts: list[str]) -> None:
    """What has another form is left out, or read by itself as no date."""
    codes = np.frombuffer("\t".join(texts).encode(), dtype=np.uint8)
    sizes = np.array([len(text) for text in texts])
    begins = np.cumsum(sizes + 1) - sizes - 1
    found = us_seconds(codes, begins, begins + sizes)
    expected = [one(text) for text in texts]
    if found is not None:
        assert found.tolist() == expected
    else:
        assert None in expected or any(text != text.strip() for text in texts)

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.errors import DataError
from recbole_darec.sources.options import parse_share
from recbole_darec.sources.raw import interactions, prepare, selection
from recbole_darec.sources.raw.amazon import open_amazon
from recbole_darec.sources.raw.interactions import KeptBlock, read_again, scan
from recbole_darec.sources.raw.kcore import k_core
from recbole_darec.sources.raw.lines import (
    MAX_LINE,
    Faults,
    read_lines,
)
from recbole_darec.sources.raw.selection import Scan, select

from . import makers

PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60)


@given(PAIRS, st.integers(0, 4))
def test_the_k_core_is_that_of_a_naive_loop(pairs, k):
    rows = list(range(len(pairs)))
    while True:  # one interaction at a time, from the back
        users = Counter(pairs[row][0] for row in rows)
        items = Counter(pairs[row][1] for row in rows)
        gone = [r for r in rows if users[pairs[r][0]] < k or items[pairs[r][1]] < k]
        if not gone:
            break
        rows.remove(gone[-1])
    users = np.array([u for u, _ in pairs], dtype=np.int32)
    items = np.array([i for _, i in pairs], dtype=np.int32)
    core = k_core(users, items, k)
    assert core.rows.tolist() == rows
    assert (core.rounds > 0) == (len(rows) < len(pairs))


def test_a_chain_unravels_to_its_end():
    """Each round takes one link of the chain at each end; a cycle stays."""
    n = 50
    users = np.array([*range(n), *range(1, n), n, n + 1, n, n + 1])
    items = np.array([*range(n), *range(n - 1), n, n, n + 1, n + 1])
    core = k_core(users, items, 2)
    assert core.rows.tolist() == list(range(2 * n - 1, 2 * n + 3))
    assert core.rounds == n
    with pytest.raises(DataError, match="k-core"):
        k_core(users, items, -1)


ROWS = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 5), st.integers(-2, 2) | st.just(1e300), st.booleans()
    ),
    max_size=80,
)


@given(ROWS, st.integers(0, 3), st.booleans(), st.integers(-(2**62), 2**62))
def test_selection_is_that_of_a_naive_loop(rows, k, timed, salt):
    columns = Scan(
        array("H", [1] * len(rows)),
        array("q", [hash((salt, "u", u)) for u, *_ in rows]),
        array("q", [hash((salt, "i", i)) for _, i, *_ in rows]),
        array("d", [float(t) for _, _, t, _ in rows] if timed else []),
        bytearray(enough for *_, enough in rows),
    )
    latest: dict[tuple[int, int], int] = {}
    for n, (u, i, t, _) in enumerate(rows):
        if (u, i) not in latest or not timed or t >= rows[latest[u, i]][2]:
            latest[u, i] = n
    liked = sorted(n for n in latest.values() if rows[n][3])
    core = k_core(
        np.array([rows[n][0] for n in liked], dtype=int),
        np.array([rows[n][1] for n in liked], dtype=int),
        k,
    )
    wanted = [liked[row] for row in core.rows]
    found = select(columns, k)
    assert np.flatnonzero(np.frombuffer(found.keep, dtype=np.uint8)).tolist() == wanted
    # numbered by first appearance, whatever the hashes
    for place, codes, count in ((0, found.users, found.n_users), (1, found.items, found.n_items)):
        ids = [rows[n][place] for n in wanted]
        number = {name: n for n, name in enumerate(dict.fromkeys(ids))}
        assert codes.tolist() == [number[name] for name in ids]
        assert count == len(number)
    assert found.duplicates == len(rows) - len(latest)
    assert found.below == len(latest) - len(liked)
    assert found.outside == len(liked) - len(wanted)


def test_codes_in_pieces(monkeypatch):
    """The pieces of the sorted order meet in the middle of equal values."""
    values = np.random.default_rng(0).integers(-3, 3, 500) * 2**60
    whole = selection._codes(array("q", values.tolist()))
    assert whole.tolist() == np.unique(values, return_inverse=True)[1].tolist()
    monkeypatch.setattr(selection, "_PIECE", 7)
    assert selection._codes(array("q", values.tolist())).tolist() == whole.tolist()


def test_two_ids_with_one_hash_are_noticed(tmp_path, monkeypatch):
    makers.amazon(tmp_path / "raw")
    monkeypatch.setattr(interactions, "hash", lambda text: int(text[-4:]) // 2, raising=False)
    with pytest.raises(DataError, match="one hash"):
        prepare("amazon", tmp_path / "raw", "b", tmp_path / "out", k_core=0)
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_between_the_passes(tmp_path):
    records = makers.amazon(tmp_path / "raw")
    source = open_amazon(tmp_path / "raw")
    read = scan(source, [Faults("x", 0.0)], 3.0)
    chosen = select(read, 0)
    found = read_again(source, read, chosen)
    rows = [row for one in found for row in (one.rows() if isinstance(one, KeptBlock) else [one])]
    assert len(rows) == len(chosen.users)
    for changed in (records[:-1], [*records, records[0]], [*records[:5], "{", *records[6:]]):
        makers.write(source.interactions, changed)
        if changed[5] == "{":
            chosen = chosen._replace(keep=b"\1" * len(records))
        with pytest.raises(DataError, match="changed"):
            list(read_again(source, read, chosen))


def test_lines(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n" + b"x" * (2 * MAX_LINE + 5) + b"\nlast\r\r\n\xffend")
    faults = Faults("x", 0.0)
    lines = list(read_lines(path, faults))
    assert lines == [b"one", b"", b"x" * (MAX_LINE + 1), b"last", b"\xffend"]
    assert faults.lines == 5
    assert {kind: tuple(found) for kind, found in faults.mended.items()} == {
        "CRLF line end": (2, "x:1"),
        "byte order mark": (1, "x:1"),
    }
    path.write_bytes(b"")
    assert list(read_lines(path)) == []
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path))


def test_the_share_of_faults():
    assert [parse_share(text) for text in ("5", "5%", " 0.5 % ", "0", "100%")] == [
        0.05, 0.05, 0.005, 0.0, 1.0,
    ]  # fmt: skip
    for text in ("", "lots", "-1", "101%", "nan", "1%%x"):
        with pytest.raises(DataError, match="percentage"):
            parse_share(text)
    faults = Faults("x", 0.01)
    for lines, fits in ((5, 10), (5_000, 40)):
        faults.lines = lines
        for _ in range(fits):
            faults.add("odd")
        if lines == 5:
            with pytest.raises(DataError, match="11 of the first 5 lines"):
                Faults("x", 0.01, 5, dict(faults.found)).add("odd")
    with pytest.raises(DataError, match=r"51 of the first 5,000 lines.*1 %.*first at x:5"):
        faults.add("odd")
    faults = Faults("x", 1.0, lines=3000)
    for _ in range(3000):
        faults.add("odd")

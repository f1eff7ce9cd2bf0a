"""Delimited text in columns is what it is line by line: files, report, faults, what is held."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.errors import DataError
from recbole_darec.sources.raw import columns, interactions, lines, prepare, writing
from recbole_darec.sources.raw.interactions import KeptBlock, read_again, scan
from recbole_darec.sources.raw.lines import Faults, lines_of, read_blocks, read_lines
from recbole_darec.sources.raw.prepare import SOURCES
from recbole_darec.sources.raw.selection import Scan, select
from recbole_darec.sources.raw.source import Source

from . import makers
from .test_raw_prepare import tree


class Form(NamedTuple):
    """A source's file: its name, its first line, and how the cells of one interaction stand."""

    source: str
    file: str
    header: str
    line: str  # of {u}ser, {i}tem, {r}ating and {t}ime

    @property
    def separator(self) -> str:
        return self.line[3 : self.line.index("{", 3)]


FORMS = {
    "csv": Form("movielens", "ratings.csv", "userId,movieId,rating,timestamp", "{u},{i},{r},{t}"),
    "1m": Form("movielens", "ratings.dat", "", "{u}::{i}::{r}::{t}"),
    "100k": Form("movielens", "u.data", "", "{u}\t{i}\t{r}\t{t}"),
    "amazon": Form(
        "amazon", "B.csv", "user_id,parent_asin,rating,timestamp,history", "{u},{i},{r},{t},x y"
    ),
    "steam": Form(
        "steam",
        "recommendations.csv",
        "user_id,app_id,helpful,date,is_recommended",
        "{u},{i},0,{t},{r}",
    ),
}


def by_lines(source: Source) -> Source:
    return dataclasses.replace(source, columns=None, table_columns=None)


@contextmanager
def blocks_of(size: int) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_BLOCK", size)
        yield patch


def scanned(source: Source, share: float) -> tuple[Any, ...]:
    """All that comes of the two passes, and the faults."""
    faults = [Faults(path.name, share) for path in source.files]
    try:
        read = scan(source, faults, source.least or 3.0)
        held = [bytes(getattr(read, field.name)) for field in dataclasses.fields(Scan)]
        selection = select(read, 0)
        kept: list[Any] = []
        for found in read_again(source, read, selection):
            kept += found.rows() if isinstance(found, KeptBlock) else [found]
    except DataError as error:
        return str(error), faults
    orders = [(list(of.found), list(of.mended)) for of in faults]
    return held, selection.keep, list(map(repr, kept)), faults, orders


def prepared(form: Form, raw: Path, out: Path, **options: Any) -> tuple[Any, ...]:
    try:
        report = prepare(form.source, raw, "d", out, overwrite=True, **options)
    except DataError as error:
        return (str(error),)
    # a text beyond ASCII is larger once pandas asked for its UTF-8
    return dataclasses.replace(report, seconds=0.0, held=0, folder=Path()), tree(report.folder)


def check_both(form: Form, raw: Path, share: float, **options: Any) -> tuple[Any, ...]:
    """Read and prepare in columns and line by line; returns what both gave."""
    opener: Callable[[Path], Source] = SOURCES[form.source]
    source = opener(raw)
    assert source.columns is not None
    assert scanned(source, share) == scanned(by_lines(source), share)
    given = {"k_core": 0, "max_faults": share, **options}
    found = prepared(form, raw, raw.parent / "columns", **given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, form.source, lambda raw: by_lines(opener(raw)))
        assert prepared(form, raw, raw.parent / "lines", **given) == found
    return found


# -- anything -------------------------------------------------------------------------------------

IDS = st.sampled_from(["1", "2", "3", "4", "007", "7", "ü x", " 5", "5 ", "1.0"])
LOST = st.sampled_from(["", "NA", "nan", "[PAD]", "a\x01b", "a\tb", "\x85", "\xa0", " ", "a\0"])
QUOTED = st.sampled_from(['"1"', '"a,b"', '"1', 'a"b', '""'])
ODD = [
    "good",
    "nan",
    "inf",
    "1e400",
    "",
    "1_0",
    "0x10",
    "٣",
    " 4",
    "4 ",
    "+4",
    "4.",
    "1 2",
    "1e",
    "-",
]
NUMBERS = st.one_of(
    st.sampled_from(ODD), st.floats().map(repr), st.integers(-(2**70), 2**70).map(str)
)
RATINGS = st.sampled_from(["3", "4.0", "0.5", "5.0", "1", "3.50"])
TIMES = st.one_of(
    st.integers(0, 9).map(str), st.sampled_from(["978300760", "-0", "-3", "1.5e9", "12.5"])
)
DAYS = st.sampled_from(["2020-01-02", "2020-01-02 03:04:05", "2019-12-31"])
THUMBS = st.sampled_from(["true", "false", "True"])
ENDS = st.sampled_from(["\n", "\n", "\n", "\n", "\r\n", "\r\r\n"])


@st.composite
def contents(draw: st.DrawFn, name: str) -> bytes:
    """A file with plain lines, many, and what is odd in all ways, little."""
    form = FORMS[name]
    usual_end = draw(ENDS)
    steam = name == "steam"
    ratings, times = (THUMBS, DAYS) if steam else (RATINGS, TIMES)
    text = b""
    if form.header:
        bom = draw(st.sampled_from(["", "", "\ufeff"]))
        text = (bom + form.header + usual_end).encode()
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["plain"] * 6 + ["ids", "number", "line", "end"]))
        end = draw(ENDS) if kind == "end" else usual_end
        plain = [
            form.line.format(u=draw(IDS), i=draw(IDS), r=draw(ratings), t=draw(times))
            for _ in range(draw(st.integers(1, 4)))
        ]
        text += "".join(line + end for line in plain).encode()
        u, i, r, t = draw(IDS), draw(IDS), draw(ratings), draw(times)
        if kind == "ids":
            u, i = draw(st.permutations([u, draw(LOST | QUOTED)]))
        elif kind == "number":
            r, t = draw(NUMBERS | ratings), draw(NUMBERS | times)
        line = form.line.format(u=u, i=i, r=r, t=t).encode()
        if kind == "line":
            cut = form.separator.encode()
            line = draw(
                st.sampled_from(
                    [
                        b"", b" ", b"\t\t\t", b"::::::", b",,,", b"x", line + cut,
                        line + cut + b"y",
                        line.replace(cut, b"", 1), line.replace(cut, cut * 2), b"\xff" + line,
                        b"\xef\xbb\xbf" + line, form.header.encode(), line.replace(cut, cut[:1]),
                        line.replace(cut, cut + cut[:1]), line + b"\r" + line, b" " + line,
                        line.replace(cut, b'"' + cut, 1), b"\0" + line, b"#" + line,
                    ]
                )
            )  # fmt: skip
        text += line + end.encode()
    return text.removesuffix(b"\n") if draw(st.booleans()) else text


@pytest.mark.parametrize("name", list(FORMS))
@settings(max_examples=25)
@given(data=st.data())
def test_columns_are_what_lines_are(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    form, text = FORMS[name], data.draw(contents(name))
    if form.header and not text.strip(b"\r\n"):
        text = form.header.encode()
    raw = tmp_path_factory.mktemp(name) / "raw"
    raw.mkdir()
    pack = data.draw(st.booleans())
    path = raw / (form.file + ".gz" * pack)
    path.write_bytes(gzip.compress(text, 1, mtime=0) if pack else text)
    split = data.draw(st.sampled_from(["3:1:1", "leave-one-out"]))
    with blocks_of(data.draw(st.sampled_from([1, 40, 150, 1 << 20]))):
        check_both(form, raw, data.draw(st.sampled_from([0.002, 1.0, 1.0])), split=split)


# -- what is plain is never looked at by itself ----------------------------------------------------


def ratings_of(form: Form, n: int = 400, end: str = "\n") -> bytes:
    rated = ["true", "false", "true"] if form.source == "steam" else ["3.5", "2.0", "5.0"]
    cells = [
        form.line.format(
            u=f"u{u}",
            i=f"ü{i}",
            r=rated[k % 3],
            t=f"2020-01-{k % 28 + 1:02d}"
            if form.source == "steam"
            else 978300760 + 7919 * k % 1000,
        )
        for k, (u, i) in enumerate(makers.pairs(1, 20, 40, n))
    ]
    return "".join(
        line + end for line in [*([form.header] if form.header else []), *cells]
    ).encode()


class Alone(Exception):
    """A plain line was parsed, or written, by itself."""


def forbid_lines(patch: pytest.MonkeyPatch, form: Form) -> None:
    """Let no line but the first of a file be parsed by itself, and nothing be written so."""
    opener: Callable[[Path], Source] = SOURCES[form.source]

    def refuse(*_: object) -> Any:
        raise Alone

    def opened(raw: Path) -> Source:
        source = opener(raw)
        first = form.header.encode()

        def parse(line: Any) -> Any:
            return source.parse(line) if line == first else refuse()

        return dataclasses.replace(source, parse=parse)

    patch.setitem(SOURCES, form.source, opened)
    patch.setattr(writing._Writer, "row", refuse)


def write_raw(form: Form, folder: Path, text: bytes, pack: bool = False) -> Path:
    folder.mkdir()
    path = folder / (form.file + ".gz" * pack)
    path.write_bytes(gzip.compress(text, mtime=0) if pack else text)
    return path


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize(("end", "pack"), [("\n", False), ("\r\n", True)])
def test_no_plain_line_is_read_or_written_alone(
    tmp_path: Path, name: str, end: str, pack: bool
) -> None:
    form = FORMS[name]
    text = ratings_of(form, end=end)
    # the last line may lack its end; half of a CRLF is odd
    path = write_raw(form, tmp_path / "raw", text if end == "\r\n" else text[:-1], pack)
    with blocks_of(700) as patch:
        found = check_both(form, tmp_path / "raw", 0.0)
        forbid_lines(patch, form)
        again = prepared(form, tmp_path / "raw", tmp_path / "o", k_core=0, max_faults=0.0)
    assert again == found
    report, lines = found[0], 400 + bool(form.header)
    assert (report.read, report.faults[0].lines) == (400, lines)
    mended = {"CRLF line end": (lines, f"{path.name}:1")} if end == "\r\n" else {}
    assert report.faults[0].mended == mended


def test_a_line_alone_would_be_noticed(tmp_path: Path) -> None:
    form = FORMS["1m"]
    write_raw(form, tmp_path / "raw", ratings_of(form) + b'"')
    with pytest.MonkeyPatch.context() as patch:
        forbid_lines(patch, form)
        with pytest.raises(Alone):
            prepare(form.source, tmp_path / "raw", "d", tmp_path / "p", k_core=0)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("csv", b"u1,i1,3.5,"),
        ("csv", b"u1,i1,,7"),
        ("csv", b",i1,3.5,7"),
        ("csv", b"u1,,3.5,7"),
        ("csv", b"u1,NA,3.5,7"),
        ("csv", b"[PAD],i1,3.5,7"),
        ("csv", b"u1,i\x01,3.5,7"),
        ("csv", b"u1,i1,3.5\nu1,i1,3.5,7,u1"),  # as many separators as two plain lines have
        ("csv", b"u1,i1,3.5,7,u1\nu1,i1,3.5"),
        ("csv", b'"u1",i1,3.5,7'),
        ("csv", b"\xef\xbb\xbfu1,i1,3.5,7"),
        ("csv", b"u1,i1\0,3.5,7"),
        ("csv", b"\xff,i1,3.5,7"),
        ("csv", b"u1,i1,3.5,0x10"),
        ("csv", b"u1,i1,3.5,1e400"),
        ("csv", b"u1,i1,nan,7"),
        ("csv", b"u1,i1,3.5,7\r"),
        ("csv", b"u1,i1\r,3.5,7"),
        ("csv", b"u1,i1,3.5,7\n"),
        ("csv", b"userId,movieId,rating,timestamp"),
        ("amazon", b"u1,i1,3.5,7\nu1,i1,3.5,7,x,y"),
        ("amazon", b"u1,i1,3.5,7,x,y\nu1,i1,3.5,7"),
        ("1m", b"u1\ti1::3.5::7"),
        ("1m", b"u1\t::i1::3.5::7"),
        ("1m", b"u1:::i1::3.5::7"),
        ("1m", b"u1::i1::3.5::7::more"),
        ("1m", "ü::i1::3.5::7".encode("latin-1")),
        ("100k", b"u1\ti1\t3.5"),
        ("steam", b"u1,i1,0,2020-13-01,true"),
        ("steam", b"u1,i1,0,2020-01-01,maybe"),
    ],
)
def test_what_is_odd_is_left_to_the_parser_of_lines(tmp_path: Path, name: str, odd: bytes) -> None:
    form = FORMS[name]
    text = ratings_of(form, 60).splitlines(keepends=True)
    text.insert(31, odd + b"\n")
    path = write_raw(form, tmp_path / "raw", b"".join(text))
    reader = SOURCES[form.source](tmp_path / "raw").columns
    assert reader is not None
    assert [reader.read(block) is None for block in read_blocks(path)][1:] == [True]
    check_both(form, tmp_path / "raw", 1.0)


@pytest.mark.parametrize("time", [" 7", "+7", "-7", "-0", "7.5", "1_0", "7e3", "9" * 18, "9" * 19])
def test_every_number_of_a_time(tmp_path: Path, time: str) -> None:
    """Those that are not of digits alone are read as Python reads them, still in columns."""
    form = FORMS["csv"]
    write_raw(form, tmp_path / "raw", ratings_of(form, 60) + f"u1,i1,3.5,{time}".encode())
    (_, files) = check_both(form, tmp_path / "raw", 0.0)
    with pytest.MonkeyPatch.context() as patch:
        forbid_lines(patch, form)
        again = prepared(form, tmp_path / "raw", tmp_path / "o", k_core=0, max_faults=0.0)
    assert again[1] == files
    assert f"\t{float(time)!r}\n".encode() in b"".join(files.values())


def test_only_the_block_with_the_odd_line_is_read_line_by_line(tmp_path: Path) -> None:
    form = FORMS["csv"]
    text = ratings_of(form).splitlines(keepends=True)
    text.insert(200, b"u1,i1,good,1\n")
    path = write_raw(form, tmp_path / "raw", b"".join(text))
    source = SOURCES["movielens"](tmp_path / "raw")
    seen: list[bytes] = []

    def parse(line: Any) -> Any:
        seen.append(line)
        return source.parse(line)

    faults = Faults("f", 0.0)
    faults.share = 1.0
    with blocks_of(500):
        scan(dataclasses.replace(source, parse=parse), [faults], 3.0)
        (block,) = [b for b in read_blocks(path) if b"good" in b]
    assert seen == [text[0].rstrip(), *block.splitlines()]
    assert 10 < len(seen) < 50
    assert {kind: tuple(of) for kind, of in faults.found.items()} == {
        "'rating' is no number": (1, "f:201")
    }
    assert faults.lines == 402


BITS = st.sampled_from(
    [b"\n", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"a", b"bcd", b"\xff", b"e" * 9]
)


@settings(max_examples=60)
@given(st.lists(BITS).map(b"".join), st.integers(1, 70), st.integers(3, 50))
def test_lines_of_blocks_are_the_lines(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, size: int, longest: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks"
    path.write_bytes(text)
    with blocks_of(size) as patch:
        patch.setattr(lines, "MAX_LINE", longest)
        by_line, by_block = Faults("f", 1.0), Faults("f", 1.0)
        wanted = list(read_lines(path, by_line))
        found = [line for block in read_blocks(path) for line in lines_of(block, by_block)]
    assert found == wanted
    assert by_block == by_line


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    form = FORMS["csv"]
    text = ratings_of(form, 60).splitlines(keepends=True)
    text.insert(30, b"u1,i1," + b"0" * 200 + b",7\n")
    write_raw(form, tmp_path / "raw", b"".join(text))
    for size in (10, 120):
        with blocks_of(size) as patch:
            patch.setattr(lines, "MAX_LINE", 150)
            patch.setattr(columns, "MAX_LINE", 150)
            (report, _) = check_both(form, tmp_path / "raw", 1.0)
        assert report.faults[0].found == {"longer than 0 MiB": (1, "ratings.csv:31")}
        assert report.read == 60


def test_a_release_in_parts(tmp_path: Path) -> None:
    """Each part has its header, which is read by itself."""
    form = FORMS["amazon"]
    for n, part in enumerate(("train", "valid", "test")):
        form = form._replace(file=f"Books.{part}.csv")
        text = ratings_of(form).splitlines(keepends=True)
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / form.file).write_bytes(text[0] + b"".join(text[1 + n :: 3]))
    with blocks_of(300) as patch:
        (report, files) = check_both(form, tmp_path / "raw", 0.0)
        forbid_lines(patch, form)
        assert (
            prepared(form, tmp_path / "raw", tmp_path / "o", k_core=0, max_faults=0.0)[1] == files
        )
    assert report.read == 400
    assert [faults.lines for faults in report.faults] == [134, 135, 134]  # test, train, valid


@pytest.mark.parametrize("size", [60, 1 << 20])
def test_two_ids_with_one_hash_are_noticed(tmp_path: Path, size: int) -> None:
    form = FORMS["csv"]
    write_raw(form, tmp_path / "raw", ratings_of(form))
    with blocks_of(size) as patch:
        patch.setattr(interactions, "hash", lambda text: int(text[1:]) // 2, raising=False)
        (told,) = check_both(form, tmp_path / "raw", 0.0)
    assert "one hash" in told


@pytest.mark.parametrize("size", [60, 1 << 20])
def test_a_file_that_changes_between_the_passes(tmp_path: Path, size: int) -> None:
    form = FORMS["1m"]
    text = ratings_of(form).splitlines(keepends=True)
    path = write_raw(form, tmp_path / "raw", b"".join(text))
    source = SOURCES["movielens"](tmp_path / "raw")
    with blocks_of(size):
        read = scan(source, [Faults("f", 0.0)], 3.0)
        selection = select(read, 0)
        for changed in (text[:-1], [*text, text[0]], [*text[:6], b"u::i\n", *text[7:]]):
            path.write_bytes(b"".join(changed))
            chosen = selection
            if changed[6] == b"u::i\n":
                chosen = selection._replace(keep=b"\1" * len(text))
            with pytest.raises(DataError, match="changed"):
                list(read_again(source, read, chosen))

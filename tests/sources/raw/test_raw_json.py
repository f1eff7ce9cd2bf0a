"""JSON lines in columns are what they are line by line: files, report, faults, what is held."""

from __future__ import annotations

import gzip
import json
import sys
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_darec.sources.raw import columns, lines, records
from recbole_darec.sources.raw.dates import iso_seconds, mail_seconds
from recbole_darec.sources.raw.goodreads import _MONTHS, _time
from recbole_darec.sources.raw.lines import LineFault, read_blocks
from recbole_darec.sources.raw.prepare import SOURCES
from recbole_darec.sources.raw.source import seconds
from recbole_darec.sources.raw.texts import clean, clean_json, places_of, plain

from . import makers
from .test_raw_columns import (
    Alone,
    Form,
    blocks_of,
    check_both,
    forbid_lines,
    prepared,
    write_raw,
)

pytest.importorskip("pyarrow.json")

FORMS = {
    "2018": Form("amazon", "Books.json", "", ""),
    "2023": Form("amazon", "Books.jsonl", "", ""),
    "variants": Form("amazon", "Books.jsonl", "", ""),  # without parent_asin
    "yelp": Form("yelp", "review.json", "", ""),
    "interactions": Form("goodreads", "goodreads_interactions_poetry.json", "", ""),
    "reviews": Form("goodreads", "goodreads_reviews_poetry.json", "", ""),
    "steam": Form("steam", "steam_reviews.json", "", ""),
}
DAY = "Wed Mar {:02d} 11:37:04 -0700 2017"


def record(name: str, user: str, item: str, rating: int, time: int, text: str) -> dict[str, Any]:
    """One interaction as its source writes it; times are days from 1 to 28."""
    if name in ("2018", "2023", "variants"):
        make = makers.amazon_2018 if name == "2018" else makers.amazon_2023
        found = make(user, item, float(rating), 10**9 + time, text)
        return {key: found[key] for key in found if name != "variants" or key != "parent_asin"}
    if name == "yelp":
        return makers.yelp_review(user, item, rating, f"2017-03-{time:02d} 11:37:04", text)
    if name == "steam":
        day = f"2017-03-{time:02d}"
        return {"username": user, "hours": 1.5, "product_id": item, "date": day, "text": text}
    found = {"user_id": user, "book_id": item, "rating": rating, "date_added": DAY.format(time)}
    text_key = "review_text" if name == "reviews" else "review_text_incomplete"
    return {**found, text_key: text, "read_at": "", "is_read": True}


def text_lines(name: str, n: int = 400) -> list[bytes]:
    texts = ["fine", 'It\'s "so"\n\nlong', "a  b", "ü <br /> &amp; 😀", "", " \\ "]
    return [
        json.dumps(
            record(name, f"u{u}", f"ü{i}", 3 + k % 3, k % 28 + 1, texts[k % 6]),
            ensure_ascii=k % 2 == 0,
        ).encode()
        for k, (u, i) in enumerate(makers.pairs(1, 20, 40, n))
    ]


# -- anything -------------------------------------------------------------------------------------

VALUES = st.sampled_from(
    [
        "null", "true", "false", "NaN", "-NaN", "Inf", "-Inf", "Infinity", "-Infinity", "0", "-0",
        "-0.0", "0.0", "5", "4.5", "01", "1.", ".5", "+1", "1e2", "1E400", "-", "1_0", "0x10",
        "9" * 19, "9" * 700, "9" * 5000, "1e-400", '"5"', '"NA"', '""', '" "', '"a\\tb"', '"a\tb"',
        '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\ud83dx"', '"\\u00fc"',
        '"a\\"b"', '"\\/"', '"\\x"', '"\\u12"', "'x'", "u'x'", '"x', "[]", "[1, [2]]", "{}",
        '{"user_id": "u9", "rating": 1, "asin": "i9"}', "[" * 300 + "]" * 300, "[" * 2000,
        '"2017-02-29"', '"2017-03-04 1:2:3"', '"2017-03-04T11:37:04"', '"2017-03-04 99:99:99"',
        '"0000-03-04"', '"2017-13-04 11:37:04"', '"Wed Feb 30 11:37:04 +0130 2017"', "Information",
        '"Xyz Mxr 22 11:37:04 -0700 2017"', '"Wed Mar  2 11:37:04 -0700 2017"', '"Inf: Inf"',
        '": Inf"', "/* x */ 1", "1 // x", "\f1", "1\r", '"a\x7f"', '"\\u2028"', '"[PAD]"', "",
    ]
)  # fmt: skip
KEYS = [
    "reviewerID", "asin", "overall", "unixReviewTime", "reviewText", "summary", "user_id",
    "parent_asin", "rating", "timestamp", "text", "title", "business_id", "stars", "date",
    "book_id", "date_added", "review_text", "review_text_incomplete", "review_sentences",
    "username", "product_id", "other", "\\u0072eviewerID", "revie\\u0077_sentences",
    "parent\\u005fasin", "user\\u005fid",
]  # fmt: skip
IDS = st.sampled_from(["u1", "u2", "u3", "007", "ü", "it's", "a b"])
TEXTS = st.sampled_from(["", "fine", "a  b", 'a "quote"', "x <b>y</b> &amp;", "ü\u2028é", "\\n"])


@st.composite
def one_line(draw: st.DrawFn, name: str) -> bytes:
    """A line that is mostly plain, and else odd in one way or two."""
    found = record(
        name, draw(IDS), draw(IDS), draw(st.integers(1, 5)), draw(st.integers(1, 28)), draw(TEXTS)
    )
    dumped = json.dumps(found, ensure_ascii=draw(st.booleans()))
    kind = draw(st.sampled_from(["plain"] * 5 + ["value", "pair", "line", "literal", "key"]))
    if kind == "plain":
        return dumped.encode()
    if kind == "literal":
        return makers.python2(found).encode()
    if kind == "line":
        line, other = dumped.encode(), text_lines(name, 1)[0]
        cut = draw(st.integers(0, len(line)))
        return draw(
            st.sampled_from(
                [
                    b"", b" ", b"{}", b"[]", b"5", b"null", b"Inf", line[:cut], line[cut:],
                    line[:cut] + b"\n" + line[cut:], line[:cut] + b"\0" + line[cut:],
                    line[:cut] + b"\xff" + line[cut:], line[:cut] + b"\r" + line[cut:],
                    b" " + line, line + b" ", line + other, line + b" " + other, line + b",",
                    line[:-1] + b"\n" + other + b"\n}", b"[" + line + b"]", b"\xef\xbb\xbf" + line,
                    line + b"\xc2\xa0", line.replace(b", ", b" ", 1), line.replace(b": ", b" ", 1),
                    line.replace(b", ", b",\n", 1), line + b"\n\n" + other, line[:-1] + b",}",
                    b'{"x": ' + line + b"}", line.replace(b'"', b"'"), line + b"}", line + b"\r",
                    line[:-1] + b', "x": {\n' + other + b"\n}}", line * 2,
                ]
            )
        )  # fmt: skip
    pairs = [(json.dumps(key), json.dumps(value)) for key, value in found.items()]
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(pairs) - 1))
        if kind == "value":
            pairs[place] = pairs[place][0], draw(VALUES)
        elif kind == "key":
            del pairs[place]
            if not pairs:
                break
        else:
            pairs.insert(place, ('"' + draw(st.sampled_from(KEYS)) + '"', draw(VALUES)))
    blank = draw(st.sampled_from([" ", "", "\t", "  "]))
    return ("{" + ("," + blank).join(f"{k}:{blank}{v}" for k, v in pairs) + "}").encode()


@pytest.mark.parametrize("name", list(FORMS))
@settings(max_examples=15)
@given(data=st.data())
def test_columns_are_what_lines_are(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    form = FORMS[name]
    found = data.draw(st.lists(one_line(name), max_size=20))
    first = text_lines(name, 1)  # by which the file is known
    end = data.draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\r\n"]))
    text = end.join(first + found) + data.draw(st.sampled_from([b"", end]))
    pack = data.draw(st.booleans())
    raw = tmp_path_factory.mktemp(name) / "raw"
    write_raw(form, raw, text, pack)
    split = data.draw(st.sampled_from(["3:1:1", "leave-one-out"]))
    with blocks_of(data.draw(st.sampled_from([1, 600, 1 << 20]))):
        check_both(form, raw, data.draw(st.sampled_from([0.002, 1.0, 1.0])), split=split)


# -- what is plain is never looked at by itself ----------------------------------------------------


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize(("end", "pack"), [(b"\n", False), (b"\r\n", True)])
@pytest.mark.parametrize("split", ["3:1:1", "leave-one-out"])
def test_no_plain_line_is_read_or_written_alone(
    tmp_path: Path, name: str, end: bytes, pack: bool, split: str
) -> None:
    form = FORMS[name]
    path = write_raw(form, tmp_path / "raw", end.join([*text_lines(name), b""]), pack)
    given = {"k_core": 5, "split": split}
    with blocks_of(9000) as patch:
        found = check_both(form, tmp_path / "raw", 0.0, **given)
        forbid_lines(patch, form)
        again = prepared(form, tmp_path / "raw", tmp_path / "o", max_faults=0.0, **given)
    assert again == found
    report, files = found
    assert (report.read, report.faults[0].lines) == (400, 400)
    mended = {"CRLF line end": (400, f"{path.name}:1")} if end == b"\r\n" else {}
    assert report.faults[0].mended == mended
    reviews = [json.loads(line) for line in files["d.reviews.jsonl"].splitlines()]
    assert 100 < len(reviews) == report.reviews
    assert (report.reviews < report.kept) == (form.source != "amazon")  # there is a summary
    break_tag = "" if form.source == "amazon" else "<br /> &amp; "
    amp = "& " if form.source == "amazon" else ""
    assert {found["review"] for found in reviews} >= {
        "fine", 'It\'s "so" long', "a b", f"ü {break_tag}{amp}😀", "\\",
    }  # fmt: skip


def test_a_line_alone_would_be_noticed(tmp_path: Path) -> None:
    form = FORMS["yelp"]
    write_raw(form, tmp_path / "raw", b"\n".join([*text_lines("yelp"), b"{}"]))
    with pytest.MonkeyPatch.context() as patch:
        forbid_lines(patch, form)
        with pytest.raises(Alone):
            prepared(form, tmp_path / "raw", tmp_path / "o", k_core=0, max_faults=1.0)


def with_value(line: bytes, key: str, value: bytes) -> bytes:
    old = json.dumps(json.loads(line)[key]).encode()
    return line.replace(f'"{key}": '.encode() + old, f'"{key}": '.encode() + value)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("2018", "verified", b"Inf"),
        ("2018", "verified", b"-NaN"),
        ("2018", "reviewerName", b'"\xff"'),
        ("2018", "reviewerName", b'"\0"'),
        ("2018", "verified", b"9" * 5000),
        ("2018", "verified", b"[" * 900 + b"]" * 900),
        ("2018", "overall", b"-0"),
        ("2018", "overall", b"null"),
        ("2018", "overall", b'"5"'),
        ("2018", "overall", b"NaN"),
        ("2018", "overall", b"1e400"),
        ("2018", "overall", b'5, "overall": 3'),
        ("2018", "overall", b'null, "overall": 3'),
        ("2018", "reviewText", b'"a\tb"'),
        ("2018", "reviewText", b"7"),
        ("2018", "reviewText", b'"\\ude00"'),
        ("2018", "reviewerID", b"12"),
        ("2018", "reviewerID", b'"a\\"b"'),
        ("2018", "reviewerID", b'"NA"'),
        ("2018", "reviewerID", b'"a\\u0000"'),
        ("2018", "reviewerID", b'"\xff"'),
        ("2023", "rating", b'5, "\\u0072eviewerID": null'),
        ("2023", "rating", b'5, "reviewerID": null'),
        ("variants", "rating", b'5, "parent\\u005fasin": null'),
        ("reviews", "rating", b'5, "review_sentences": []'),
        ("reviews", "date_added", b'""'),
        ("yelp", "date", b'"2017-02-29 11:37:04"'),
        ("yelp", "stars", b"5} {"),
        ("yelp", "stars", b"\n5"),
    ],
)
def test_what_is_odd_is_left_to_the_parser_of_lines(
    tmp_path: Path, name: str, key: str, value: bytes
) -> None:
    form, text = FORMS[name], text_lines(name, 60)
    text[30] = with_value(text[30], key, value)
    path = write_raw(form, tmp_path / "raw", b"\n".join(text))
    reader = SOURCES[form.source](tmp_path / "raw").columns
    assert reader is not None
    assert [reader.read(block) is None for block in read_blocks(path)] == [False, True] or (
        key == "reviewText"  # of which the first pass reads nothing
        and [reader.read(block, True) is None for block in read_blocks(path)] == [False, True]
    )
    check_both(form, tmp_path / "raw", 1.0)


@pytest.mark.parametrize("cut", [b'"x": {}\n,', b'"x":\n{},'])
def test_as_many_objects_as_lines_and_not_one_in_each(tmp_path: Path, cut: bytes) -> None:
    form, text = FORMS["yelp"], text_lines("yelp", 60)
    text[30:32] = [text[30] + text[31]]
    text[40] = text[40].replace(b"{", b"{" + cut, 1)
    path = write_raw(form, tmp_path / "raw", b"\n".join(text))
    reader = SOURCES["yelp"](tmp_path / "raw").columns
    assert reader is not None
    assert [reader.read(block) is None for block in read_blocks(path)] == [False, True]
    (report, _) = check_both(form, tmp_path / "raw", 1.0)
    assert (report.read, report.faults[0].found["not JSON"].times) == (57, 3)


def test_where_pyarrow_is_not_installed(tmp_path: Path) -> None:
    form = FORMS["2018"]
    write_raw(form, tmp_path / "raw", b"\n".join(text_lines("2018")))
    found = check_both(form, tmp_path / "raw", 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow.json", None)
        assert SOURCES["amazon"](tmp_path / "raw").columns is None
        again = prepared(form, tmp_path / "raw", tmp_path / "o", k_core=0, max_faults=0.0)
    assert again == found


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    form, text = FORMS["yelp"], text_lines("yelp", 60)
    # what is read of it, 801 bytes, is a whole object
    text[30] = text[30][:-1] + b" " * (801 - len(text[30])) + b"}" + b"x" * 50
    write_raw(form, tmp_path / "raw", b"\n".join(text))
    with blocks_of(500) as patch:
        patch.setattr(lines, "MAX_LINE", 800)
        patch.setattr(columns, "MAX_LINE", 800)
        patch.setattr(records, "MAX_LINE", 800)
        (report, _) = check_both(form, tmp_path / "raw", 1.0)
    assert report.faults[0].found == {"longer than 0 MiB": (1, "review.json:31")}
    assert report.read == 59


# -- the parts ------------------------------------------------------------------------------------


def cells(texts: list[str]) -> np.ndarray:
    return np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(len(texts), -1)


def by_one(read: Any, texts: list[str]) -> list[float] | None:
    try:
        return [read(text) for text in texts]
    except LineFault:
        return None


CLOCKS = st.builds("{:02d}:{:02d}:{:02d}".format, *[st.integers(0, 99)] * 3)
YEARS = st.integers(0, 9999)
DAYS = st.builds("{:04d}-{:02d}-{:02d}".format, YEARS, st.integers(0, 13), st.integers(0, 32))
GOOD_DAYS = st.dates().map(str)


@settings(max_examples=200)
@given(st.lists(st.builds("{} {}".format, DAYS | GOOD_DAYS, CLOCKS), min_size=1, max_size=3))
@example(["2000-02-29 00:00:00", "1900-02-28 24:60:60"])
@example(["1900-02-29 00:00:00"])
def test_days_of_many_rows(texts: list[str]) -> None:
    for read in (texts, [text[:10] for text in texts]):
        found = iso_seconds(cells(read))
        assert (None if found is None else found.tolist()) == by_one(
            lambda text: seconds(text, "date"), read
        )


ZONES = st.builds("{}{:02d}{:02d}".format, st.sampled_from("+-"), *[st.integers(0, 99)] * 2)


@settings(max_examples=200)
@given(
    st.lists(
        st.builds(
            "Wed {} {:02d} {} {} {:04d}".format,
            st.sampled_from([*_MONTHS, "Mar", "Xyz"]), st.integers(0, 99), CLOCKS, ZONES, YEARS,
        ),
        min_size=1,
        max_size=3,
    )
)  # fmt: skip
def test_dates_of_mails_of_many_rows(texts: list[str]) -> None:
    found = mail_seconds(cells(texts), _MONTHS)
    assert (None if found is None else found.tolist()) == by_one(_time, texts)


@pytest.mark.parametrize(
    "text", ["2017-03-04 11:37: 4", "2017-03-04 1_:37:04", "2017/03/04", "+017-03-04", "x" * 10]
)
def test_dates_that_are_left_to_the_parser_of_one(text: str) -> None:
    assert iso_seconds(cells([text])) is None


@settings(max_examples=300)
@given(
    st.lists(st.text("ab \t\n\"\\<>&;x\x00\x7f\xa0ü😀\u2028\ud800/'amp", max_size=12), max_size=5)
)
@example(["", " a", "a ", "a  b", "a", ""])
@example(["\ud83d\ude00", "&amp;", "a\\", "<b>"])
def test_texts_cleaned_at_once_are_those_cleaned_by_themselves(texts: list[str]) -> None:
    for way in (clean, plain):
        assert clean_json(texts, way) == [encode_basestring(way(text))[1:-1] for text in texts]


@given(st.text("ab ", max_size=30))
def test_places_of_a_pair(text: str) -> None:
    wanted = [n for n in range(len(text)) if text[n : n + 2] == "ab"]
    assert sorted(places_of(text.encode(), b"ab").tolist()) == wanted


def test_gzip_in_columns(tmp_path: Path) -> None:
    """A packed file is unpacked, whatever its name."""
    form = FORMS["reviews"]
    text = b"\n".join(text_lines("reviews"))
    write_raw(form, tmp_path / "raw", gzip.compress(text, mtime=0))
    assert check_both(form, tmp_path / "raw", 0.0)[0].read == 400

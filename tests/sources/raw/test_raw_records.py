from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_darec.sources.raw.lines import MAX_LINE, LineFault
from recbole_darec.sources.raw.records import number, parse_record, text_of, token
from recbole_darec.sources.raw.texts import clean, plain, title_and_year, year_of

from .makers import python2

WHOLE = st.text(st.characters(blacklist_categories=["Cs"]))  # no halves of surrogate pairs
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | WHOLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WHOLE, inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.dictionaries(WHOLE, VALUES, max_size=5)


@given(RECORDS)
@example({"it's": 'a "b"', "u": "u'x'", "n": "None, 'True'", "e": "\\", "": "\\'"})
def test_what_python_prints_is_read_as_python_reads_it(record):
    assert parse_record(repr(record).encode()) == record
    assert parse_record(python2(record).encode()) == record
    assert parse_record(json.dumps(record).encode()) == record
    assert parse_record(json.dumps(record, ensure_ascii=False).encode()) == record


PIECES = st.sampled_from(
    ["'", '"', "\\", "u'", 'u"', "{", "}", "[", "]", ":", ", ", "None", "True", "1.5", "-2", "a",
     "x", "n", "\\x41", "\\u00e9", "\\U0001F600", "\\N{BULLET}", "\\101", "\\\n", "é", "(", ")",
     "b'", "+", "{'a': ", "}"]
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
@settings(max_examples=400)
@given(st.lists(PIECES, max_size=30).map("".join))
@example("{'a': '\\d'}")
@example("{'a': 'x\\\n'}")
@example("{'a': '\\x4'}")
@example("{'a': 'b'}; import os")
@example("{'a': __import__('os')}")
def test_what_is_read_is_what_python_would_read(text):
    """Soundness: whatever is accepted has the value of the literal, or is plain JSON."""
    line = text.replace("\n", "").encode()
    try:
        found = parse_record(line)
    except LineFault:
        return
    try:
        wanted = json.loads(line)
    except ValueError:
        wanted = ast.literal_eval(line.decode())
    assert found == wanted


def test_nothing_in_a_line_is_run(tmp_path):
    mark = tmp_path / "mark"
    attack = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    eval(attack)  # the attack is live
    assert mark.exists()
    mark.unlink()
    lines = [attack, f"{{'a': {attack}}}", f"{{'a': [{attack} for _ in 'x']}}", f"{{{attack}: 1}}"]
    for line in lines:
        with pytest.raises(LineFault):
            parse_record(line.encode())
    assert not mark.exists()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"{'a':" * 100_000, "not JSON"),
        (b"(" * 100_000, "not JSON"),
        (b"-" * 100_000 + b"1", "not JSON"),
        # a number longer than Python reads where it bounds that, and a finite one where not
        (b"{'a': " + b"9" * 10_000_000 + b"}", "longer than 8 MiB"),
        (b"{'a': '" + b"\\'" * 200_000, "not JSON"),
        (b"'" * 200_001, "not JSON"),
        (b"{'a': '\\U00110000'}", "not JSON"),
        (b"{'a': '\\N{NO SUCH THING}'}", "not JSON"),
        (b"{'a': ('b',)}", "not JSON"),
        (b"{'a'}", "not JSON"),
        (b"{'a': 1", "not JSON"),
        (b'{"a": 1} {}', "not JSON"),
        (b'{"a": 1}]', "not JSON"),
        (b'"text"', "not a JSON object"),
        (b"", "not JSON"),
        (b"{}\xff", "not UTF-8"),
        (b"{}" + b" " * MAX_LINE, "longer than 8 MiB"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_hostile_lines(line, kind):
    with pytest.raises(LineFault, match=kind):
        parse_record(line)


def test_surrogate_pairs_of_python_2_are_joined():
    assert parse_record(rb"{u'a': u'\ud83d\ude00'}") == {"a": "😀"}


def test_fields():
    record: dict[str, Any] = {"a": "x", "n": 7, "f": 2.5, "b": True, "null": None, "big": 10**400}
    record["nan"] = math.nan
    assert (token(record, "a"), token(record, "n")) == ("x", "7")
    assert (number(record, "n"), number(record, "f")) == (7.0, 2.5)
    for read, key, kind in [
        (token, "b", "no text"),
        (token, "f", "no text"),
        (token, "null", "no 'null'"),
        (token, "gone", "no 'gone'"),
        (number, "a", "no number"),
        (number, "b", "no number"),
        (number, "gone", "no 'gone'"),
        (number, "nan", "not finite"),
        (number, "big", "not finite"),
    ]:
        with pytest.raises(LineFault, match=kind):
            read(record, key)


def test_cells_of_any_type():
    assert text_of([["Books", "Crime"], ["Books", " "], None, 3, {"a": "b"}], ", ") == (
        "Books, Crime, 3"
    )
    assert [text_of(value) for value in (None, False, {}, [], 0.5, "x")] == [
        "", "", "", "", "0.5", "x",
    ]  # fmt: skip


@given(st.text(st.characters()))
@example("a\ud83db")
@example("\ud83d\ude00")
@example("a\u2028b\x85c\x00d")
def test_a_clean_text_is_one_line_of_utf_8(text):
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert cleaned == cleaned.strip()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]|  ", cleaned)
    assert clean(cleaned) == cleaned
    # no character is lost but blanks, controls and halves of pairs
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    letters = re.sub("[\\s\x00-\x1f\x7f-\x9f]", "", whole)
    if not re.search("[\ud800-\udfff]", text):
        assert re.sub(r"\s", "", cleaned) == letters


def test_web_text_and_titles():
    assert plain("a<br/>b &amp;amp; <!-- x --> 1 < 2 <3 &lt;i&gt;") == "a b &amp; 1 < 2 <3 <i>"
    assert title_and_year("Toy Story (1995)") == ("Toy Story", "1995")
    assert title_and_year("Nikita (Femme, La) (1990)") == ("Nikita (Femme, La)", "1990")
    assert title_and_year("unknown") == ("unknown", "")
    assert title_and_year("(1990)") == ("(1990)", "")
    assert [year_of(t) for t in ("2018-01-04", "Oct 27, 2017", "Coming 12345", "")] == [
        "2018", "2017", "", "",
    ]  # fmt: skip

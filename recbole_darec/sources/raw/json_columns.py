"""Many JSON lines at once, as columns, where pyarrow is installed.

pyarrow reads the wanted keys of a block of lines and passes over the others.  A block in which one
line might be read otherwise by :func:`.records.parse_record`, or holds anything but one plain
interaction, is left to the source's own parser, line by line.  Both give the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_darec.data.atomic import all_sound
from recbole_darec.sources.raw.columns import Block, Coded, whole_lines
from recbole_darec.sources.raw.lines import LineFault
from recbole_darec.sources.raw.texts import places_of

__all__ = ["JsonColumns", "JsonForm", "interactions_of", "json_columns", "texts_of"]

_NESTED = 250  # opening brackets of a line; Python's reader ends at about 1,000 within each other
_LITERAL = (b"{u", b"{'")  # Python's: refused before anything is looked for
_STEP = 64
_LONG = 9  # steps; Python may be told to refuse whole numbers from 640 digits on
_AROUND = 64
# A character of ASCII written as \u0041 in a key.  The longest key of a source, all of it so
# written, has fewer bytes than this lets follow.
_ESCAPED_KEY = re.compile(rb'\\u00[2-7][0-9a-fA-F][^"]{0,180}"\s*:')


@dataclass(frozen=True)
class JsonForm:
    """Under which keys the parts of an interaction stand.

    Attributes:
        user, item: of ids that are texts.
        rating: of a number; None where there are none, which gives zeros.
        time: of a number, or of a text that ``date`` reads.
        reviews: of texts or nulls; the first that is not empty counts.
        absent: keys that no record of this form has.
        date: text -> seconds; raises ``LineFault``.  None where times are numbers.
        dates: the same of many texts of one width, uint8 ``[n, width]`` -> float64 ``[n]``; None
            where one of them must be looked at by itself.
        per_second: of times that are numbers, how many make a second.
    """

    user: str
    item: str
    rating: str | None
    time: str
    reviews: Sequence[str]
    absent: Sequence[str] = ()
    date: Callable[[str], float] | None = None
    dates: Callable[[np.ndarray], np.ndarray | None] | None = None
    per_second: float = 1

    @property
    def ids_and_numbers(self) -> list[str]:
        """All keys but those of texts."""
        return [self.user, self.item, self.time, *([self.rating] if self.rating else [])]

    def is_of(self, names: Collection[str]) -> bool:
        """Tell whether rows with these columns have this form."""
        return set(self.ids_and_numbers) <= set(names) and not set(self.absent) & set(names)

    def may_be(self, content: bytes) -> bool:
        """Tell whether the records of a block can have this form."""
        return self.user.encode() in content and not any(
            key.encode() in content for key in self.absent
        )


def json_columns(*forms: JsonForm) -> JsonColumns | None:
    """Return the reader of records of these forms; None where pyarrow is not installed."""
    try:
        import pyarrow.json  # noqa: F401
    except ImportError:
        return None
    return JsonColumns(forms)


@dataclass(frozen=True)
class JsonColumns:
    """Reads blocks of JSON lines, each block in the first of some forms that it may have."""

    forms: Sequence[JsonForm]

    def read(self, content: bytes, reviews: bool = False) -> Block | None:
        """Read a block of whole lines; None where one of them must be looked at by itself.

        The last line may lack its end.

        Args:
            content: the block.
            reviews: whether the texts are wanted, too.
        """
        if content[:2] in _LITERAL:
            return None
        crlf = b"\r" in content
        form = next((form for form in self.forms if form.may_be(content)), None)
        plain = None if form is None else _plain(content)
        if form is None or plain is None:
            return None
        content, lines = plain
        try:
            table = _table(content, form, reviews)
            if table is None or table.num_rows != lines:
                return None
            found = interactions_of(table, form, crlf)
            if found is None or not reviews:
                return found
            return found._replace(reviews=texts_of(table, form.reviews))
        except (LineFault, UnicodeDecodeError):
            return None


def _plain(content: bytes) -> tuple[bytes, int] | None:
    """Return lines that all end with LF alone, and their number.

    None where one could be anything but one object, or an object that pyarrow and Python's reader
    take for different things.
    """
    lines = whole_lines(content) if content[:1] == b"{" else None
    if lines is None:
        return None
    codes = np.frombuffer(lines, dtype=np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    begins = np.concatenate(([0], ends[:-1] + 1))
    # No object that spans lines passes: within it, no line but the first could begin so.
    if (codes[begins] != ord("{")).any() or (codes[ends - 1] != ord("}")).any():
        return None
    bounds = np.append(begins, len(codes))
    nested = np.zeros(len(ends), dtype=np.int64)
    for bracket in b"{[":
        nested += np.diff(np.searchsorted(np.flatnonzero(codes == bracket), bounds))
    if (nested > _NESTED).any():
        return None
    if _has_long_number(codes) or _has_no_number(lines):
        return None
    if _has_escaped_key(lines, codes):
        return None
    return lines, len(ends)


def _has_long_number(codes: np.ndarray) -> bool:
    """Tell whether there may be 640 digits in a row; True for every block that has them."""
    digits = codes[::_STEP] - np.uint8(ord("0")) <= 9
    so_far = np.concatenate(([0], np.cumsum(digits)))
    return bool((so_far[_LONG:] - so_far[:-_LONG] == _LONG).any())


def _has_escaped_key(content: bytes, codes: np.ndarray) -> bool:
    if b"\\" not in content:
        return False
    places = np.flatnonzero(codes == ord("\\"))
    for character in b"u00":  # most have none of these; the last line's end is behind each
        places = places[codes[places + 1] == character] + 1
    return len(places) > 0 and _ESCAPED_KEY.search(content) is not None


def _has_no_number(content: bytes) -> bool:
    """Tell whether NaN or an infinity may stand as a value; pyarrow knows more of them."""
    # the rarer pairs: many a key has "Na"
    for name, begin, pair in ((b"Inf", 0, b"In"), (b"NaN", 1, b"aN")):
        for place in (places_of(content, pair) - begin).tolist():
            if place < 0 or content[place : place + 3] != name:
                continue
            before = content[max(place - _AROUND, 0) : place].rstrip(b" \t-")
            if before[-1:] in (b":", b"[", b",", b""):
                return True
    return False


def _table(content: bytes, form: JsonForm, reviews: bool) -> Any:
    """Return the wanted columns as a ``pyarrow.Table``, None where pyarrow refuses a line."""
    import pyarrow as pa
    import pyarrow.json as pj

    texts = [form.user, form.item, *(form.reviews if reviews else ())]
    numbers = [] if form.rating is None else [form.rating]
    (numbers if form.date is None else texts).append(form.time)
    schema = pa.schema([(name, pa.string()) for name in texts])
    for name in numbers:
        schema = schema.append(pa.field(name, pa.float64()))
    try:
        return pj.read_json(
            pa.BufferReader(content),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(content) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        ).combine_chunks()
    except pa.ArrowException:
        return None


def interactions_of(table: Any, form: JsonForm, crlf: bool) -> Block | None:
    """Return the rows of a table without their texts; None where one must be looked at by itself.

    Raises:
        LineFault: a date is none.
    """
    if any(table.column(name).null_count for name in form.ids_and_numbers):
        return None
    users, items = _coded(table.column(form.user)), _coded(table.column(form.item))
    for ids in (users, items):
        # quotes are sound, but would be quoted
        if not all_sound(ids.texts) or '"' in "".join(ids.texts):
            return None
    times = table.column(form.time)
    if form.date is not None:
        seconds: np.ndarray | None = _dates(times, form)
    else:
        seconds = _numbers(times)
    ratings = (
        np.zeros(table.num_rows) if form.rating is None else _numbers(table.column(form.rating))
    )
    if seconds is None or ratings is None:
        return None
    return Block(users, items, ratings, seconds / form.per_second, crlf)


def _coded(column: Any) -> Coded:
    (coded,) = column.dictionary_encode().chunks
    return Coded(coded.indices.to_numpy().astype(np.int64), _objects(coded.dictionary).tolist())


def _objects(texts: Any) -> np.ndarray:
    found: np.ndarray = texts.to_numpy(zero_copy_only=False)
    return found


def _numbers(column: Any) -> np.ndarray | None:
    numbers: np.ndarray = column.to_numpy()
    # "-0" is the whole number 0 to Python
    sound = np.isfinite(numbers) & ~((numbers == 0) & np.signbit(numbers))
    return numbers if sound.all() else None


def _dates(column: Any, form: JsonForm) -> np.ndarray:
    found = None
    if form.dates is not None:
        cells = _of_one_width(column)
        found = None if cells is None else form.dates(cells)
    if found is None:
        assert form.date is not None
        coded = _coded(column)
        found = np.array([form.date(text) for text in coded.texts])[coded.places]
    return found


def _of_one_width(column: Any) -> np.ndarray | None:
    """Return the bytes of texts that have as many each, uint8 ``[n, width]``; else None."""
    (texts,) = column.chunks
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[texts.offset :][: len(texts) + 1]
    widths = np.diff(bounds)
    if data is None or not (widths == widths[0]).all() or not widths[0]:
        return None
    cells = np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]]
    return cells.reshape(len(texts), widths[0])


def texts_of(table: Any, names: Sequence[str]) -> np.ndarray:
    """Return of each row the first text that is not empty, or ``""``, as objects."""
    found = np.full(table.num_rows, "", dtype=object)
    empty = np.ones(table.num_rows, dtype=bool)
    for name in names:
        if empty.any():
            found = np.where(empty, _objects(table.column(name).chunk(0)), found)
            empty = ~found.astype(bool)
    found[empty] = ""
    return found

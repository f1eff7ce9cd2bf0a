"""Reading lists of items, and the items' texts: tables, or a JSON object a line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_darec.data import atomic
from recbole_darec.data.profile_files import open_text
from recbole_darec.errors import DataError, some
from recbole_darec.sources.raw.lines import LineFault
from recbole_darec.sources.raw.records import parse_list, parse_record
from recbole_darec.sources.raw.texts import plain

__all__ = ["read_items", "read_lists"]

_USERS = ("user_id", "user", "uid", "id", "reviewerID")
_LISTS = ("history", "items", "sequence", "item_ids", "asins")
_ITEMS = ("item_id", "item", "asin", "parent_asin", "iid", "id")


def read_lists(path: Path) -> tuple[list[str], list[list[str]], int]:
    """Return the users, their lists, and how many had an empty one.

    Raises:
        DataError: the file is missing or malformed, or a user stands there twice.
    """
    names: list[str] = []
    lists: list[list[str]] = []
    lines: dict[str, int] = {}
    empty = 0
    for number, record in _records(path, _USERS, _LISTS):
        where = f"{path}, line {number}"
        user = _token(_named(record, _USERS), where, "user")
        first = lines.setdefault(user, number)
        if first != number:
            raise DataError(f"{where}: the user '{user}' has a list in line {first} already")
        given = _named(record, _LISTS)
        if isinstance(given, str):
            try:
                given = parse_list(given)
            except LineFault as fault:
                raise DataError(
                    f"{where}: the list of user '{user}' cannot be read ({fault}): write it as "
                    "JSON or as Python prints a list"
                ) from None
        if not isinstance(given, list):
            raise DataError(f"{where}: user '{user}' has no list of items")
        if not given:
            empty += 1
            continue
        names.append(user)
        lists.append([_token(item, where, "item") for item in given])
    if not names:
        raise DataError(f"{path} holds no list of items")
    return names, lists, empty


def _token(value: Any, where: str, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise DataError(f"{where}: {str(value)[:40]!r} is no {what} id: text or a whole number")
    token = str(value)
    fault = atomic.token_fault(token)
    if fault:
        raise DataError(f"{where}: {fault}; rename it")
    return sys.intern(token)


def read_items(
    path: Path, known: Mapping[str, int]
) -> tuple[dict[str, list[str]], tuple[str, ...], int]:
    """Return the texts of each item of the lists, their columns, and how many were in no list.

    Args:
        path: the file.
        known: the items of the lists.

    Raises:
        DataError: the file is missing or malformed, or an item has no text.
    """
    columns: dict[str, None] = {}
    found: dict[str, dict[str, str]] = {}
    unused = 0
    for number, record in _records(path, _ITEMS, ()):
        where = f"{path}, line {number}"
        key = next(name for name in _ITEMS if name in record)
        token = _token(record[key], where, "item")
        if token not in known:
            unused += 1
            continue
        if token in found:
            raise DataError(f"{where}: the item '{token}' has texts in an earlier line already")
        texts = {name: plain(_text(value)) for name, value in record.items() if name != key}
        columns.update(dict.fromkeys(name for name, text in texts.items() if text))
        found[token] = texts
    lacking = [token for token in known if not any(found.get(token, {}).values())]
    if lacking:
        raise DataError(
            f"{path} has no text for {len(lacking):,} of the {len(known):,} items of the lists "
            f"({some(lacking, 3)}): add them, or leave --items out to import without texts"
        )
    rows = {token: [texts.get(name, "") for name in columns] for token, texts in found.items()}
    return rows, tuple(columns), unused


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _named(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if name in record), None)


def _records(
    path: Path, first: Sequence[str], second: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each record with its line; of a table as text, of JSON lines as they are."""
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    stem = path.name.lower().removesuffix(".gz")
    if stem.endswith((".csv", ".tsv")):
        rows = _table(path, "\t" if stem.endswith(".tsv") else ",")
    else:
        rows = _json_lines(path)
    for number, record in rows:
        for names in (first, second):
            if names and not any(name in record for name in names):
                raise DataError(
                    f"{path}, line {number}: none of the columns {', '.join(names)} is there, but "
                    f"{some(record)}"
                )
        yield number, record


def _table(path: Path, separator: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as file, _long_cells():
        reader = csv.reader(file, delimiter=separator)
        try:
            header = next(reader, None)
            if header is None:
                raise DataError(f"{path} is empty; its first line must name the columns")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, and the header names "
                        f"{len(header)}"
                    )
                # A column without a name is what pandas writes its row numbers into.
                named = {name.strip(): text for name, text in zip(header, row) if name.strip()}
                yield reader.line_num, named
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from None


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(1 << 24)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, parse_record(line.encode("utf-8", "surrogatepass"))
            except LineFault as fault:
                raise DataError(
                    f"{path}, line {number}: {fault}; a file of lists is .csv, .tsv, or a JSON "
                    "object a line"
                ) from None

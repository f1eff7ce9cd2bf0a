"""Ordered lists of items a user, and item texts, into atomic files with ranks as times."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data import atomic
from recbole_darec.data.profile_files import open_text
from recbole_darec.data.sequences import leave_one_out
from recbole_darec.errors import DataError, some
from recbole_darec.sources.raw.lines import LineFault
from recbole_darec.sources.raw.records import parse_list, parse_record
from recbole_darec.sources.raw.texts import cell, plain, table_writer

__all__ = ["SequenceReport", "import_sequences"]

_USERS = ("user_id", "user", "uid", "id", "reviewerID")
_LISTS = ("history", "items", "sequence", "item_ids", "asins")
_ITEMS = ("item_id", "item", "asin", "parent_asin", "iid", "id")


@dataclass
class SequenceReport:
    """What one import read and wrote.

    Attributes:
        dataset: the data set's name.
        folder: where it lies now.
        users, items: distinct ids in the lists.
        empty: users whose list is empty, left out.
        interactions: part -> rows, of leave-one-out.
        short: users with fewer than three items, all of which are training.
        repeats: neighbours that are one item twice.
        bought_before: test items that stand earlier in the user's own list.
        untrained: part -> targets that no user has in training.
        texts: columns of the items' table.
        unused: items that have texts and stand in no list, left out.
        files: names of the files written.
        seconds: wall time.
    """

    dataset: str
    folder: Path
    users: int = 0
    items: int = 0
    empty: int = 0
    interactions: dict[str, int] = field(default_factory=dict)
    short: int = 0
    repeats: int = 0
    bought_before: int = 0
    untrained: dict[str, int] = field(default_factory=dict)
    texts: Sequence[str] = ()
    unused: int = 0
    files: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self) -> str:
        """Return the report as aligned lines."""
        rows = [("users", f"{self.users:,}"), ("items", f"{self.items:,}")]
        rows.append(("interactions", f"{sum(self.interactions.values()):,}"))
        rows += [(f"  {part}", f"{count:,}") for part, count in self.interactions.items()]
        if self.empty:
            rows.append(("users without items, dropped", f"{self.empty:,}"))
        if self.short:
            rows.append(("users with fewer than three items", f"{self.short:,} (training alone)"))
        rows.append(("neighbours that are one item twice", f"{self.repeats:,}"))
        rows.append(("test items taken before by the user", f"{self.bought_before:,}"))
        rows += [
            (f"{part} items that nobody has in training", f"{count:,}")
            for part, count in self.untrained.items()
        ]
        rows.append(("item texts", ", ".join(self.texts) or "none"))
        if self.unused:
            rows.append(("texts of items in no list, dropped", f"{self.unused:,}"))
        rows.append(("files", ", ".join(self.files)))
        width = max(len(name) for name, _ in rows)
        head = f"{self.dataset} -> {self.folder} ({self.seconds:.1f} s)"
        return "\n".join([head, *(f"  {name:<{width}}  {value}" for name, value in rows)])


def import_sequences(
    dataset: str,
    sequences: str | Path,
    items: str | Path | None = None,
    out: str | Path = "dataset",
    overwrite: bool = False,
) -> SequenceReport:
    """Turn ordered lists of items into RecBole's atomic files, split leave-one-out.

    Args:
        dataset: the data set's name.
        sequences: ``.csv`` or ``.tsv`` with a column of users and one of lists, or JSON lines with
            a user and a list; ``.gz`` too.  A list is JSON or a Python literal, the oldest item
            first; it is parsed and never run.
        items: ``.csv``, ``.tsv`` or JSON lines with an id and texts, for every item of the lists.
        out: the folder of data sets; ``out/dataset`` is written, whole or not at all.
        overwrite: replace an earlier import.

    Raises:
        DataError: a file is missing or malformed, a user stands there twice, an item has no text,
            or no user has three items; the message names file and line.
    """
    started = time.perf_counter()
    atomic.check_dataset_name(dataset)
    path = Path(sequences)
    names, lists, empty = _read_lists(path)
    tokens = {token: n for n, token in enumerate(dict.fromkeys(t for one in lists for t in one))}
    report = SequenceReport(dataset, Path(out) / dataset, len(names), len(tokens), empty)
    users = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    numbers = np.fromiter((tokens[t] for one in lists for t in one), np.int64, len(users))
    _count(report, users, numbers)
    table = None if items is None else _read_items(Path(items), tokens, report)
    with atomic.staged_folder(report.folder, overwrite) as folder:
        with (folder / f"{dataset}.inter").open("w", encoding="utf-8", newline="") as file:
            writer = table_writer(file)
            writer.writerow(atomic.inter_header(["user_id", "item_id", "timestamp"]))
            for name, one in zip(names, lists):
                writer.writerows((name, token, rank) for rank, token in enumerate(one, 1))
        if table is not None:
            with (folder / f"{dataset}.item").open("w", encoding="utf-8", newline="") as file:
                writer = table_writer(file)
                writer.writerow(["item_id:token", *(f"{c}:token_seq" for c in report.texts)])
                writer.writerows((token, *map(cell, table[token])) for token in tokens)
        note = f"imported from {path.name}: ranks as times, leave-one-out"
        columns = ["user_id", "item_id", "timestamp"]
        atomic.write_dataset_yaml(folder, dataset, columns, False, note, leave_one_out=True)
        report.files = sorted(file.name for file in folder.iterdir())
    report.seconds = time.perf_counter() - started
    return report


def _count(report: SequenceReport, users: np.ndarray, items: np.ndarray) -> None:
    labels, report.short = leave_one_out(users)
    report.interactions = dict(zip(atomic.SPLITS, np.bincount(labels, minlength=3).tolist()))
    report.repeats = int(((users[1:] == users[:-1]) & (items[1:] == items[:-1])).sum())
    keys = users * report.items + items
    report.bought_before = int(np.isin(keys[labels == 2], keys[labels != 2]).sum())
    trained = items[labels == 0]
    report.untrained = {
        part: int((~np.isin(items[labels == n], trained)).sum())
        for n, part in ((1, "valid"), (2, "test"))
    }


# -- reading --------------------------------------------------------------------------------------


def _read_lists(path: Path) -> tuple[list[str], list[list[str]], int]:
    """Return the users, their lists, and how many had an empty one."""
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


def _read_items(
    path: Path, known: Mapping[str, int], report: SequenceReport
) -> dict[str, list[str]]:
    """Return the texts of each item of the lists, in the order of ``report.texts``."""
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
    report.texts = tuple(columns)
    report.unused = unused
    return {token: [texts.get(name, "") for name in columns] for token, texts in found.items()}


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

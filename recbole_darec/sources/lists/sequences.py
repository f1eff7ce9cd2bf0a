"""Ordered lists of items a user, and item texts, into atomic files with ranks as times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recbole_darec.data import atomic
from recbole_darec.data.sequences import leave_one_out
from recbole_darec.sources.lists.reading import read_items, read_lists
from recbole_darec.sources.raw.texts import cell, table_writer

__all__ = ["SequenceReport", "import_sequences"]


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
    names, lists, empty = read_lists(path)
    tokens = {token: n for n, token in enumerate(dict.fromkeys(t for one in lists for t in one))}
    report = SequenceReport(dataset, Path(out) / dataset, len(names), len(tokens), empty)
    users = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    numbers = np.fromiter((tokens[t] for one in lists for t in one), np.int64, len(users))
    _count(report, users, numbers)
    table = None
    if items is not None:
        table, report.texts, report.unused = read_items(Path(items), tokens)
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

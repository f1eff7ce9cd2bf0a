"""Writing the interactions that stay, and their reviews, in the order of the raw file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from json.encoder import encode_basestring as _quoted
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from recbole_darec.data import atomic
from recbole_darec.errors import DataError
from recbole_darec.sources.raw.columns import Coded
from recbole_darec.sources.raw.interactions import Kept, KeptBlock, read_again
from recbole_darec.sources.raw.report import PrepareReport
from recbole_darec.sources.raw.selection import Scan, Selection
from recbole_darec.sources.raw.source import Source
from recbole_darec.sources.raw.texts import clean_json, table_writer

__all__ = ["write_interactions"]

_WHOLE = 1e15  # whole numbers below it are written with all their digits


def write_interactions(
    folder: Path,
    source: Source,
    columns: Sequence[str],
    read: Scan,
    selection: Selection,
    parts: np.ndarray | None,
    report: PrepareReport,
) -> dict[str, list[str]]:
    """Write the parts and the reviews; returns the ids of ``item`` and ``user``.

    Args:
        folder: an existing one.
        source: the raw data.
        columns: of the ``.inter`` files.
        read: of the first pass.
        selection: what stays of it.
        parts: the number of each kept one's part; None writes one file, in which a rank stands for
            the time.
        report: gets the number of reviews and the memory held.

    Raises:
        DataError: the raw file changed, or two ids have one hash.
    """
    suffixes = ["inter"] if parts is None else [f"{part}.inter" for part in atomic.SPLITS]
    with ExitStack() as stack:

        def create(suffix: str) -> TextIO:
            path = folder / f"{report.dataset}.{suffix}"
            return stack.enter_context(path.open("w", encoding="utf-8", newline=""))

        files = [create(suffix) for suffix in suffixes]
        for file in files:
            table_writer(file).writerow(atomic.inter_header(columns))
        texts = create("reviews.jsonl") if source.reviewed else None
        writer = _Writer(source, selection, parts, files, texts)
        for found in read_again(source, read, selection):
            if isinstance(found, Kept):
                writer.row(found)
            else:
                writer.block(found)
    report.reviews = writer.reviews if source.reviewed else None
    users, items = writer.users, writer.items
    report.held += sum(map(sys.getsizeof, users)) + sum(map(sys.getsizeof, items))
    return {"user": users, "item": items}


class _Writer:
    """Writes what stays, one by one or in blocks, to the same bytes.

    Attributes:
        users, items: the ids by their numbers, ``""`` where none has come yet.
        reviews: those written.
    """

    def __init__(
        self,
        source: Source,
        selection: Selection,
        parts: np.ndarray | None,
        files: Sequence[TextIO],
        texts: TextIO | None,
    ) -> None:
        self.users, self.items = [""] * selection.n_users, [""] * selection.n_items
        self.reviews = 0
        self._source, self._files, self._texts = source, files, texts
        self._writers = [table_writer(file) for file in files]
        self._parts, self._ranks = parts, selection.ranks
        # single numbers of these are Python's own
        self._part_of = None if parts is None else parts.data
        self._rank_of = None if selection.ranks is None else selection.ranks.data

    def row(self, kept: Kept) -> None:
        """Write one interaction and its review."""
        source, row, ranks, number = self._source, kept.row, self._rank_of, kept.number
        _note(self.users, kept.user, row.user)
        _note(self.items, kept.item, row.item)
        cells: list[object] = [row.user, row.item]
        if source.rated:
            cells.append(row.rating)
        if source.timed:
            cells.append(row.time if ranks is None else ranks[number])
        self._writers[0 if self._part_of is None else self._part_of[number]].writerow(cells)
        text = source.clean(row.review) if self._texts else ""
        if self._texts and text:
            # By hand, since an encoder costs as much as all the rest of this loop.
            rank = "" if ranks is None else f'"rank": {ranks[number]}, '
            self._texts.write(
                f'{{"user_id": {_quoted(row.user)}, "item_id": {_quoted(row.item)}, {rank}'
                f'"review": {_quoted(text)}}}\n'
            )
            self.reviews += 1

    def block(self, kept: KeptBlock) -> None:
        """Write interactions and their reviews; no id of a block needs quotes."""
        for ids, numbers, texts in (
            (self.users, kept.users, kept.user_ids),
            (self.items, kept.items, kept.item_ids),
        ):
            if not _note_all(ids, numbers, texts):
                for row in kept.rows():  # to the first id that is wrong
                    self.row(row)
                return
        pieces, source = [_ids(kept.user_ids), "\t", _ids(kept.item_ids)], self._source
        if source.rated:
            pieces += ["\t", _by_distinct(kept.ratings)]
        if source.timed and self._ranks is not None:
            ranks = self._ranks[kept.number : kept.number + len(kept.users)]
            pieces += ["\t", _whole(ranks)]
        elif source.timed:
            pieces += ["\t", *_times(kept.times)]
        pieces.append("\n")
        rows = np.empty((len(kept.users), len(pieces)), dtype=object)
        for place, piece in enumerate(pieces):
            rows[:, place] = piece
        if self._parts is None:
            self._files[0].write("".join(rows.ravel().tolist()))
        else:
            parts = self._parts[kept.number : kept.number + len(kept.users)]
            for part, file in enumerate(self._files):
                file.write("".join(rows[parts == part].ravel().tolist()))
        if self._texts and kept.reviews is not None:
            self._block_of_reviews(self._texts, kept, kept.reviews)

    def _block_of_reviews(self, file: TextIO, kept: KeptBlock, reviews: np.ndarray) -> None:
        users, items = (
            map(list(map(_quoted, ids.texts)).__getitem__, ids.places.tolist())
            for ids in (kept.user_ids, kept.item_ids)
        )
        ranks = [""] * len(reviews)
        if self._ranks is not None:
            of_block = self._ranks[kept.number : kept.number + len(reviews)].tolist()
            ranks = [f'"rank": {rank}, ' for rank in of_block]
        texts = clean_json(reviews.tolist(), self._source.clean)
        lines = [
            f'{{"user_id": {user}, "item_id": {item}, {rank}"review": "{text}"}}\n'
            for user, item, rank, text in zip(users, items, ranks, texts)
            if text
        ]
        file.write("".join(lines))
        self.reviews += len(lines)


def _ids(ids: Coded) -> np.ndarray:
    return _objects(ids.texts)[ids.places]


def _times(times: np.ndarray) -> list[Any]:
    """Return the pieces of numbers most of which are distinct and, mostly, whole."""
    if (np.abs(times) < _WHOLE).all() and times.all():  # there is -0.0, too
        whole = times.astype(np.int64)
        if (whole == times).all():
            return [_whole(whole), ".0"]
    return [_by_distinct(times)]


def _whole(numbers: np.ndarray) -> np.ndarray:
    return _objects(list(map(str, numbers.tolist())))


def _by_distinct(numbers: np.ndarray) -> np.ndarray:
    import pandas as pd

    # by their bits, since -0.0 equals 0.0
    places, bits = pd.factorize(np.ascontiguousarray(numbers).view(np.int64))
    return _objects(list(map(repr, bits.view(np.float64).tolist())))[places]


def _objects(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=object)


def _note_all(tokens: list[str], numbers: np.ndarray, ids: Coded) -> bool:
    """Remember the ids of some numbers; False, and nothing remembered, where two share one."""
    number_of = np.full(len(ids.texts), -1, dtype=np.int64)
    number_of[ids.places] = numbers
    if (number_of[ids.places] != numbers).any():
        return False
    used = np.flatnonzero(number_of >= 0)
    found = {number: ids.texts[n] for n, number in zip(used.tolist(), number_of[used].tolist())}
    if len(found) < len(used):
        return False
    if any(tokens[number] not in ("", text) for number, text in found.items()):
        return False
    for number, text in found.items():
        tokens[number] = text
    return True


def _note(tokens: list[str], place: int, token: str) -> None:
    """Remember the id of a number; two ids under one number had one hash."""
    if tokens[place] != token:
        if tokens[place]:
            raise DataError(
                f"the ids '{tokens[place]}' and '{token}' fell on one hash, which happens once in "
                "millions of runs: run again (with another PYTHONHASHSEED, if that is set)"
            )
        tokens[place] = token

"""One's own data: a table of interactions, profile texts as JSON lines, embeddings as ``.npy``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.atomic import SPLITS, check_dataset_name, check_tokens
from recbole_darec.data.distinct import contained
from recbole_darec.data.profile_files import open_text, read_profiles, require_unique
from recbole_darec.data.splits import parse_ratios, ratio_split
from recbole_darec.errors import DataError, EmbeddingError, nearest, some
from recbole_darec.sources.importers.base import (
    ImportReport,
    KindData,
    check_matrix,
    write_import,
)
from recbole_darec.sources.importers.cells import first_true
from recbole_darec.sources.importers.matrices import read_matrix
from recbole_darec.sources.importers.same_ids import check_same_form
from recbole_darec.sources.importers.table_reader import (
    COLUMNS,
    IDS,
    SPLIT_NAMES,
    TableForm,
    read_interactions,
)
from recbole_darec.sources.options import EMPTY_CELLS

__all__ = ["import_table"]


def _distribute(path: str, frame: Any, split: str, seed: int) -> tuple[dict[str, Any], int]:
    """Drop repeated pairs and cut the table into parts; returns them and how many were dropped."""
    ratios = None if split == "none" else parse_ratios(split)
    if "split" not in frame.columns and ratios is None:
        # A pair may come again at another time, for sequences; RecBole's rm_dup_inter decides.
        keys = [*IDS, "timestamp"] if "timestamp" in frame.columns else list(IDS)
        kept = _without_repeated(frame, keys)
        return {"": kept}, len(frame) - len(kept)

    if "split" in frame.columns:
        if ratios is not None:
            raise DataError(
                f"{path} has a split column: leave out --split {split}, or drop the column"
            )
        names = frame["split"].str.strip().str.lower().map(SPLIT_NAMES)
        unknown = names.isna()
        if unknown.any():
            row = first_true(unknown)
            value = frame["split"].iloc[row - 1]
            raise DataError(
                f"{path}, row {row}: the split '{value}'{nearest(value, SPLIT_NAMES)} is none of "
                "train, valid (or val, validation) and test"
            )
        frame = frame.assign(split=names)
        kept = _without_repeated(frame, [*IDS, "split"])
        twice = kept[kept.duplicated(list(IDS), keep=False)]
        if len(twice):
            user, item = twice.iloc[0][list(IDS)]
            where = twice[(twice["user_id"] == user) & (twice["item_id"] == item)]["split"]
            pairs = len(twice.drop_duplicates(list(IDS)))
            raise DataError(
                f"{path}: {pairs:,} pairs stand in more than one split (user '{user}', item "
                f"'{item}': {some(sorted(where, key=SPLITS.index))}), which leaks the answers into "
                "training; keep each in one"
            )
    else:
        assert ratios is not None
        kept = _without_repeated(frame, list(IDS))
        # The order of the file's rows must not matter: draw over the pairs in sorted order.
        users, items = (_ranks(kept[column]) for column in IDS)
        order = np.lexsort((items, users))
        labels = np.empty(len(kept), dtype=np.uint8)
        labels[order] = ratio_split(users[order], len(kept), ratios, seed)
        return {s: kept[labels == n] for n, s in enumerate(SPLITS)}, len(frame) - len(kept)
    dropped = len(frame) - len(kept)
    return {s: kept[kept["split"] == s].drop(columns="split") for s in SPLITS}, dropped


def _without_repeated(frame: Any, keys: list[str]) -> Any:
    """Return the rows whose keys, ids among them, stand in no row before."""
    users, items = (frame[column].cat.codes.to_numpy(dtype=np.int64) for column in IDS)
    pairs = users * len(frame["item_id"].cat.categories) + items
    ordered = np.sort(pairs)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return frame
    # The few rows that can be repeated are compared whole.
    rows = np.flatnonzero(contained(pairs, again))
    kept = np.ones(len(frame), bool)
    kept[rows] = ~frame.iloc[rows].duplicated(keys).to_numpy()
    return frame[kept]


def _ranks(ids: Any) -> np.ndarray:
    """Return the place of each id among the sorted ones, int64 ``[rows]``, of categories."""
    ranks = np.empty(len(ids.cat.categories), dtype=np.int64)
    ranks[np.argsort(ids.cat.categories.to_numpy(dtype=object), kind="stable")] = np.arange(
        len(ranks)
    )
    return ranks[ids.cat.codes.to_numpy()]


# -- texts and matrices ---------------------------------------------------------------------------


def _read_ids(path: Path) -> list[str]:
    with open_text(path) as file:
        ids = file.read().split("\n")
    while ids and not ids[-1]:
        ids.pop()
    check_tokens(ids, str(path))
    require_unique(ids, str(path))
    return ids


def _kind_data(
    kind: str, profiles: Path | None, embeddings: Path | None, ids_file: Path | None
) -> KindData:
    found = KindData()
    ids: list[str] | None = None
    if profiles is not None:
        ids, texts = read_profiles(profiles)
        filled = [(token, text) for token, text in zip(ids, texts) if text.strip()]
        found.text_ids = [token for token, _ in filled]
        found.texts = [text for _, text in filled]
    if embeddings is None:
        if ids_file is not None:
            raise DataError(
                f"--{kind}-ids names the rows of --{kind}-embeddings, which is not given"
            )
        return found
    ids_from = str(ids_file or profiles)
    if ids_file is not None:
        ids = _read_ids(ids_file)
    if ids is None:
        raise DataError(
            f"--{kind}-embeddings needs to know whose row is whose: give --{kind}-profiles in the "
            f"same order, or --{kind}-ids with one id per line"
        )
    found.matrix_ids = ids
    matrix = read_matrix(embeddings)
    found.matrix = check_matrix(matrix, ids, str(embeddings), ids_from)
    return found


def _form(columns: Mapping[str, str], separator: str | None, empty: str) -> TableForm:
    for name in columns:
        if name not in COLUMNS:
            raise DataError(
                f"--columns {name}={columns[name]}: the columns are {', '.join(COLUMNS)}"
                f"{nearest(name, COLUMNS)}; write {COLUMNS[0]}={columns[name]}, for example"
            )
    if separator is not None and len(separator) != 1:
        raise DataError(f"--separator '{separator}' is not one character")
    if empty not in EMPTY_CELLS:
        raise DataError(f"--empty={empty}: one of {', '.join(EMPTY_CELLS)}")
    return TableForm(columns, separator, empty)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def import_table(
    dataset: str,
    out: str | Path,
    interactions: str | Path | Sequence[str | Path],
    user_profiles: str | Path | None = None,
    item_profiles: str | Path | None = None,
    user_embeddings: str | Path | None = None,
    item_embeddings: str | Path | None = None,
    user_ids: str | Path | None = None,
    item_ids: str | Path | None = None,
    split: str = "none",
    split_seed: int = 2020,
    overwrite: bool = False,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    empty: str = "error",
) -> ImportReport:
    """Turn tables of one's own into RecBole's atomic files.

    Args:
        dataset: the data set's name.
        out: the folder of data sets; ``out/dataset`` is written, whole or not at all.
        interactions: ``.csv``, ``.tsv`` (also ``.gz``) or ``.parquet`` with the columns ``user_id``
            and ``item_id``, optionally ``split`` (train, valid or val or validation, test),
            ``rating`` and ``timestamp`` (seconds, or ISO 8601 dates and times, in UTC where they
            name no zone).  Ids are text: ``007`` stays ``007``.  Several files are read one below
            the other; ``train=a.csv`` says that a file is the training part.
        user_profiles, item_profiles: JSON lines with ``id`` and ``profile``; empty texts count as
            missing.
        user_embeddings, item_embeddings: ``.npy`` of floats, shape ``(rows, width)``.
        user_ids, item_ids: one id per line for the rows of the embeddings; without it, row n
            belongs to record n of the profile texts.
        split: for a table without a split column, ``"none"`` (one ``.inter``, split by RecBole at
            run time) or ratios such as ``"3:1:1"`` (a fixed random split within each user).
        split_seed: of that random split, which depends on the pairs and on nothing else.
        overwrite: replace an earlier import.
        columns: the table's own name of a column by ours, such as ``{"user_id": "userId"}``.
        separator: of delimited text, one character; None takes what the header shows.
        empty: what to do about ratings and times that are not there: ``error``, ``drop-rows`` or
            ``drop-column``.

    A pair repeated within its part is dropped and counted (with ``split="none"`` and timestamps
    only when the time is the same); a pair in two parts is an error.

    Raises:
        DataError: something is missing, malformed or contradictory; the message names file and row.
        EmbeddingError: the same for a matrix.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    started = time.perf_counter()
    check_dataset_name(dataset)
    if not 0 <= split_seed < 2**32:
        raise DataError(f"--split-seed must be between 0 and 2**32 - 1, not {split_seed}")
    if split != "none":
        parse_ratios(split)  # before minutes of reading
    form = _form(columns or {}, separator, empty)
    files = [interactions] if isinstance(interactions, (str, Path)) else list(interactions)
    path = ", ".join(str(file) for file in files)
    users = _kind_data("user", _path(user_profiles), _path(user_embeddings), _path(user_ids))
    items = _kind_data("item", _path(item_profiles), _path(item_embeddings), _path(item_ids))
    widths = [found.matrix.shape[1] for found in (users, items) if found.matrix is not None]
    if len(set(widths)) > 1:
        raise EmbeddingError(
            f"{user_embeddings} is {widths[0]} wide, {item_embeddings} {widths[1]}: users and "
            "items must be encoded by the same model"
        )
    frame, dropped = read_interactions(files, form)
    for column in IDS:
        check_tokens(frame[column], f"{path}, column {column}")
    for found, column, kind in ((users, "user_id", "user"), (items, "item_id", "item")):
        for ids, what in ((found.text_ids, "profiles"), (found.matrix_ids, "embeddings")):
            if len(ids):
                check_same_form(frame[column].unique(), ids, kind, path, what)
    parts, duplicates = _distribute(path, frame, split, split_seed)
    return write_import(
        dataset=dataset,
        out=Path(out),
        parts=parts,
        users=users,
        items=items,
        note=f"imported from {', '.join(Path(str(file)).name for file in files)}"
        + ("" if split == "none" else f", split {split} within each user, seed {split_seed}"),
        overwrite=overwrite,
        duplicates=duplicates,
        overlaps=0,
        started=started,
        dropped={f"rows without a {column}, dropped": n for column, n in dropped.items()},
    )

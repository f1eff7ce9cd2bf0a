"""What profiles may be made from: a data set's tables and its *training* interactions.

This is the only module of the profiles that sees a validation or test interaction.  It takes from
them the ids of users and items, and drops them; whatever is made from :class:`Material` therefore
knows nothing of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_darec.data.splits import Split, held_out
from recbole_darec.errors import DataError, some
from recbole_darec.profiles.in_time import held_out_last
from recbole_darec.profiles.reviews import ranked
from recbole_darec.settings.run_options import RunOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Entities", "Material", "read_material"]

_REVIEW_COLUMNS = ("review", "review_text", "text")
# What RecBole drops before it splits one file.
_FILTERS = ("val_interval", "user_inter_num_interval", "item_inter_num_interval", "rm_dup_inter")
_TRAIN = 0
_HELD_OUT = 3  # of an item that cold_items holds out, in none of the three parts


@dataclass(frozen=True)
class Entities:
    """The users, or the items, of a data set.

    Attributes:
        ids: every one of them: those of the table in its order, then the others, sorted.
        columns: the table's columns without the id; empty where there is no table.
        rows: id to cells; an id that the table lacks has no row.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """What may enter a profile.

    Attributes:
        dataset: the data set's name.
        users, items: their ids and columns.
        train: the training interactions, in file order: ``user_id`` and ``item_id`` (text) and,
            where the data has them, ``rating``, ``timestamp`` and ``review``.
        counts: part to number of interactions.
        split: how one file was split at random; None where the parts are files, or each user's
            last two interactions are held out.
        train_sha256: digest of the training pairs, sorted: the same for the same training part.
        reviews_file: the file that has the reviews, or None.
    """

    dataset: str
    users: Entities
    items: Entities
    train: pd.DataFrame
    counts: Mapping[str, int]
    split: Split | None
    train_sha256: str
    reviews_file: Path | None = None

    def of_items_alone(self) -> Material:
        """Return the same with no user who could get a profile."""
        return replace(self, users=Entities(()))

    def pairs(self) -> list[tuple[str, str]]:
        """Return the training pairs, each once, in file order."""
        return list(dict.fromkeys(zip(self.train["user_id"], self.train["item_id"])))


def read_material(dataset: str, data_path: str = "dataset") -> Material:
    """Read the tables of a data set and its training interactions.

    The split is the one that training will use: three files, or ``eval_args`` and ``split_seed`` of
    the data set's property files; what ``cold_items`` there holds out is in no training part.

    Args:
        dataset: the data set's name.
        data_path: the folder of data sets.

    Raises:
        DataError: a file is missing or malformed, or the split would depend on a training seed.
    """
    from recbole_darec.resolve import resolve
    from recbole_darec.settings.layers import data_folder

    settings = resolve("BPR", dataset, config_dict={"data_path": data_path, "align": "none"})
    values = settings.values
    folder = data_folder(data_path, dataset)
    names = {
        "user_id": str(values.get("USER_ID_FIELD", "user_id")),
        "item_id": str(values.get("ITEM_ID_FIELD", "item_id")),
        "rating": str(values.get("RATING_FIELD", "rating")),
        "timestamp": str(values.get("TIME_FIELD", "timestamp")),
    }
    frame, labels, split = _interactions(folder, dataset, names, values, settings.run)
    train = frame[labels == _TRAIN].reset_index(drop=True)
    if not len(train):
        raise DataError(f"data set '{dataset}' has no training interactions to make profiles from")
    reviews = folder / f"{dataset}.reviews.jsonl"
    if reviews.is_file() and "review" not in train.columns and not ranked(reviews):
        _check_one_part_each(frame, labels, reviews)
    return Material(
        dataset=dataset,
        users=_entities(folder / f"{dataset}.user", names["user_id"], frame["user_id"]),
        items=_entities(folder / f"{dataset}.item", names["item_id"], frame["item_id"]),
        train=train,
        counts={
            part: int((labels == n).sum()) for n, part in enumerate(("train", "valid", "test"))
        },
        split=split,
        train_sha256=_digest(zip(train["user_id"], train["item_id"])),
        reviews_file=reviews if reviews.is_file() else None,
    )


def _check_one_part_each(frame: pd.DataFrame, labels: np.ndarray, reviews: Path) -> None:
    """Refuse a pair of training that is held out, too: the file may have either's review."""
    pairs = frame[["user_id", "item_id"]]
    train = pairs[labels == _TRAIN].drop_duplicates()
    both = pairs[labels != _TRAIN].drop_duplicates().merge(train)
    if len(both):
        user, item = both.iloc[0]
        raise DataError(
            f"{len(both):,} pairs are in training and in validation or test, too (user {user}, "
            f"item {item}), and {reviews} does not say whose review it has: drop the pairs that "
            "are repeated, or have the reviews in a column 'review' of the .inter files"
        )


def _digest(pairs: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for user, item in sorted(set(pairs)):
        digest.update(f"{user}\t{item}\n".encode())
    return digest.hexdigest()


# -- tables ---------------------------------------------------------------------------------------


def _interactions(
    folder: Path,
    dataset: str,
    names: Mapping[str, str],
    values: Mapping[str, Any],
    run: RunOptions,
) -> tuple[pd.DataFrame, np.ndarray, Split | None]:
    """Return all interactions, the part of each, and how one file was split."""
    import pandas as pd

    parts = values.get("benchmark_filename")
    if parts:
        if len(parts) != 3:
            raise DataError(f"benchmark_filename must name train, valid and test, not {parts}")
        frames = [_read_inter(folder / f"{dataset}.{part}.inter", names) for part in parts]
        labels = np.repeat(np.arange(3), [len(frame) for frame in frames])
        # What held-out rows have beside that is no column of ours.
        whole = pd.concat(frames, ignore_index=True)[list(frames[0].columns)]
        labels[_held_out(whole, run)] = _HELD_OUT
        return whole, labels, None
    frame = _read_inter(folder / f"{dataset}.inter", names)
    seed = values.get("split_seed")
    eval_args = {"split": {"RS": (8, 1, 1)}, **(values.get("eval_args") or {})}
    if eval_args["split"] == {"LS": "valid_and_test"} and eval_args.get("order") == "TO":
        return (*held_out_last(frame, folder / f"{dataset}.inter", names), None)
    left = ~_held_out(frame, run)
    split = (
        Split.from_eval_args(eval_args, seed=seed, interactions=int(left.sum()))
        if seed is not None
        else None
    )
    if split is None:
        raise DataError(
            f"the split of '{dataset}' depends on the training seed, and a profile must not show "
            f"test interactions: fix it in {dataset}.yaml (split_seed: 2020, and eval_args with a "
            "split {'RS': [3, 1, 1]}), or bring the data in with a fixed split (--split 3:1:1)"
        )
    filters = [name for name in _FILTERS if values.get(name) not in (None, "[0,inf)")]
    if filters:
        raise DataError(
            f"RecBole splits '{dataset}' after it has filtered it by {some(filters)}, so that the "
            "training part is not known here: filter the data before, or bring it in with a fixed "
            "split (--split 3:1:1)"
        )
    labels = np.full(len(frame), _HELD_OUT)
    labels[left] = split.parts(frame["user_id"].to_numpy().astype(str)[left])
    return frame, labels, split


def _held_out(frame: pd.DataFrame, run: RunOptions) -> np.ndarray:
    """Tell which interactions are of items that a run holds out whole."""
    return held_out(frame["item_id"].to_numpy(), run.cold_items, run.cold_items_seed)


def _read_inter(path: Path, names: Mapping[str, str]) -> pd.DataFrame:
    table = _read_table(path)
    for field_name in (names["user_id"], names["item_id"]):
        if field_name not in table.columns:
            raise DataError(
                f"{path} has no column '{field_name}'; its columns are "
                f"{some(table.columns, limit=10)}"
            )
    chosen = {given: name for name, given in names.items() if given in table.columns}
    review = next((name for name in _REVIEW_COLUMNS if name in table.columns), None)
    if review is not None:
        chosen[review] = "review"
    return table[list(chosen)].rename(columns=chosen)


def _read_table(path: Path) -> pd.DataFrame:
    """Read an atomic file as RecBole does, all as text, its columns without their types."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} does not exist; bring the data in with 'recbole-darec prepare' or "
                        "'import'")  # fmt: skip
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    return table.rename(columns=lambda name: str(name).split(":")[0])


def _entities(path: Path, key: str, used: Any) -> Entities:
    """Return the users' or the items' table, and the ids that stand in the interactions alone."""
    ids: dict[str, None] = {}
    columns: tuple[str, ...] = ()
    rows: dict[str, Mapping[str, str]] = {}
    if path.is_file():
        table = _read_table(path)
        if key not in table.columns:
            raise DataError(
                f"{path} has no column '{key}'; its columns are {some(table.columns, limit=10)}"
            )
        doubled = table[key][table[key].duplicated()]
        if len(doubled):
            raise DataError(f"{path} has more than one row for the id {some(doubled.unique())}")
        columns = tuple(name for name in table.columns if name != key)
        keys = table[key].tolist()
        cells = table[list(columns)].to_numpy(dtype=object)
        rows = {token: dict(zip(columns, row)) for token, row in zip(keys, cells)}
        ids = dict.fromkeys(keys)
    others = sorted(set(used.unique()) - set(ids))
    return Entities((*ids, *others), columns, rows)

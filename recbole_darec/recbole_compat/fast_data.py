"""RecBole's data sets and samplers without a step of Python for each interaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.data import utils
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import FeatureSource

from recbole_darec.data.atomic_reader import NotPlain, read_plain
from recbole_darec.data.distinct import contained, sorted_distinct, united
from recbole_darec.data.parsed import parsed_once
from recbole_darec.data.splits import part_sizes
from recbole_darec.recbole_compat.fast_ids import ColumnIds
from recbole_darec.recbole_compat.pandas3 import reading_by

__all__ = ["FastData", "SortedSampler", "UsedItems", "sampling_from_arrays"]


class FastData(ColumnIds):
    """Mixin over a RecBole data set: the same values and parts, sooner.

    Works around: RecBole reads text by pandas' Python engine, groups interactions by a list of
    Python numbers for each user, and makes a list of numbers of each tensor that picks rows.
    """

    inter_feat: Any
    user_feat: Any
    item_feat: Any
    uid_field: str
    iid_field: str

    def _load_feat(self, filepath: str, source: Any) -> Any:
        # Other tables have far fewer rows, and RecBole works on the texts of some.
        coded = source == FeatureSource.INTERACTION
        with reading_by(partial(_read_csv, coded=coded)):
            return super()._load_feat(filepath, source)  # type: ignore[misc]

    def __getitem__(self, index: Any, join: bool = True) -> Any:
        if not isinstance(index, (np.ndarray, torch.Tensor)):
            return super().__getitem__(index, join)  # type: ignore[misc]
        rows, columns = torch.as_tensor(index), self.inter_feat.interaction  # or a mask
        found = Interaction({name: values[rows] for name, values in columns.items()})
        return self.join(found) if join else found

    def join(self, df: Any) -> Any:
        """Return interactions with the columns of their users and items, added in place."""
        for feat, field in ((self.user_feat, self.uid_field), (self.item_feat, self.iid_field)):
            if feat is not None and field in df:
                df.update(_picked(feat, df[field]))
        return df

    def shuffle(self) -> None:
        """Put the interactions in a random order, the one that RecBole draws."""
        self.inter_feat = _picked(self.inter_feat, torch.randperm(len(self.inter_feat)))

    def split_by_ratio(self, ratios: Sequence[float], group_by: str | None = None) -> list[Any]:
        """Return the data sets of the parts, rows in the order that RecBole puts them."""
        if group_by is None:
            parts: list[Any] = super().split_by_ratio(ratios, group_by)  # type: ignore[misc]
            return parts
        codes = pd.factorize(self.inter_feat[group_by].numpy())[0]
        totals = np.bincount(codes)
        order = _order_of(codes, len(totals))
        place = np.arange(len(codes)) - np.repeat(np.cumsum(totals) - totals, totals)
        ends = np.cumsum(part_sizes(totals, ratios), axis=1)
        labels = sum(place >= np.repeat(end, totals) for end in ends[:, :-1].T)
        self._drop_unused_col()  # type: ignore[attr-defined]
        chosen = (torch.from_numpy(order[labels == part]) for part in range(len(ratios)))
        copied = self.copy  # type: ignore[attr-defined]
        return [copied(_picked(self.inter_feat, rows)) for rows in chosen]


def _order_of(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Return ``np.argsort(codes, kind="stable")`` by counting, as SciPy transposes a matrix."""
    entries = np.ones(len(codes), np.int8), codes, np.arange(len(codes) + 1)  # one in each row
    by_row = sparse.csr_matrix(entries, shape=(len(codes), n_codes))
    found: np.ndarray = by_row.tocsc().indices.astype(np.int64)
    return found


def _picked(feat: Any, rows: torch.Tensor) -> Interaction:
    # ``feat[rows]`` of RecBole goes over a list of numbers.
    return Interaction({name: v.index_select(0, rows) for name, v in feat.interaction.items()})


def _read_csv(filepath: str, *, coded: bool = False, **options: Any) -> pd.DataFrame:
    """``pandas.read_csv`` as RecBole calls it, by the fast reader where it gives the same.

    Args:
        filepath: of the table.
        coded: whether columns of tokens may come as categories, of the same texts.
        options: of ``pandas.read_csv``.
    """
    asked = {**options}
    try:
        if asked.pop("engine", None) != "python" or set(asked) != _ASKED:
            raise NotPlain("it is to be read in a way of its own")
        path, columns, types = Path(filepath), asked["usecols"], dict(asked["dtype"])
        if coded:
            types.update((name, "category") for name in columns if name.endswith(":token"))
        separator, encoding = asked["delimiter"], asked["encoding"]
        way = {
            "separator": separator,
            "encoding": encoding,
            "columns": {column: _named(types[column]) for column in columns},
        }
        return parsed_once(path, way, lambda: read_plain(path, separator, columns, types, encoding))
    except NotPlain as why:
        getLogger().info(f"'{filepath}' is read in RecBole's own way, which is slower: {why}")
    frame: pd.DataFrame = pd.read_csv(filepath, **options)
    return frame


def _named(kind: Any) -> str:
    return kind if isinstance(kind, str) else np.dtype(kind).name


_ASKED = {"delimiter", "usecols", "dtype", "encoding"}


class UsedItems:
    """The items of each user, in one sorted array; stands for RecBole's array of sets.

    Args:
        keys: ``user * n_items + item``, sorted, each once, int64.
        n_users: number of users, padding counted.
        n_items: number of items, likewise.
    """

    def __init__(self, keys: np.ndarray, n_users: int, n_items: int) -> None:
        self._keys, self._n_users, self._n_items = keys, n_users, n_items

    def has(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Tell which of the pairs are there, bool ``[n]``.

        Raises:
            IndexError: there is no such user.
        """
        if len(users) and (users.max() >= self._n_users or users.min() < 0):
            raise IndexError(f"there are {self._n_users} users")
        return contained(users.astype(np.int64) * self._n_items + items, self._keys)

    def counts(self) -> np.ndarray:
        """Return the number of items of each user."""
        return np.bincount(self._keys // self._n_items, minlength=self._n_users)

    def joined(self, users: np.ndarray, items: np.ndarray) -> UsedItems:
        """Return these pairs and others."""
        more = sorted_distinct(users.astype(np.int64) * self._n_items + items)
        return UsedItems(united(self._keys, more), self._n_users, self._n_items)

    def __len__(self) -> int:
        return self._n_users

    def __getitem__(self, user: Any) -> set[int]:
        """Return the items of one user, as RecBole has them."""
        if user is None:  # RecBole's loader asks for whom it had before the first one
            return set()
        first, last = np.searchsorted(
            self._keys, np.arange(2) * self._n_items + user * self._n_items
        )
        return set((self._keys[first:last] - user * self._n_items).tolist())


class SortedSampler(Sampler):  # type: ignore[misc]
    """RecBole's sampler of negatives over sorted arrays: the same draws, the same negatives.

    Works around: RecBole keeps a Python set for each user and phase, and asks it pair by pair.
    """

    def get_used_ids(self) -> dict[str, UsedItems]:
        """Return the items of each user up to a phase, by phase.

        Raises:
            ValueError: a user has all items, in RecBole's words.
        """
        used, last = {}, UsedItems(np.empty(0, np.int64), self.user_num, self.item_num)
        for phase, dataset in zip(self.phases, self.datasets):
            users, items = (
                dataset.inter_feat[field].numpy() for field in (self.uid_field, self.iid_field)
            )
            last = used[phase] = last.joined(users, items)
        if (last.counts() + 1 == self.item_num).any():
            raise ValueError(
                "Some users have interacted with all items, which we can not sample negative "
                "items for them. Please set `user_inter_num_interval` to filter those users."
            )
        return used

    def sample_by_key_ids(self, key_ids: Any, num: int) -> torch.Tensor:
        """Return ``num`` negatives for each user, int64 ``[num * len(key_ids)]``."""
        users = np.tile(np.array(key_ids), num)
        items = self.sampling(len(users))
        again = np.arange(len(users))[self.used_ids.has(users, items)]
        while len(again):
            items[again] = self.sampling(len(again))
            again = again[self.used_ids.has(users[again], items[again])]
        return torch.tensor(items, dtype=torch.long)

    def _build_alias_table(self) -> None:
        super()._build_alias_table()
        self._candidates = np.array(list(self.prob))
        self._kept = np.array(list(self.prob.values()))
        self._others = np.array([self.alias[item] for item in self.prob])

    def _pop_sampling(self, sample_num: int) -> np.ndarray:
        # From NumPy's global state, as RecBole draws: a run's seed sets it.
        places = np.random.randint(0, len(self._candidates), sample_num)  # noqa: NPY002
        kept = self._kept[places] > np.random.random(sample_num)  # noqa: NPY002
        return np.where(kept, self._candidates[places], self._others[places])


@contextlib.contextmanager
def sampling_from_arrays() -> Iterator[None]:
    """Have RecBole's ``create_samplers`` make samplers over sorted arrays."""
    recboles = utils.Sampler
    utils.Sampler = SortedSampler
    try:
        yield
    finally:
        utils.Sampler = recboles

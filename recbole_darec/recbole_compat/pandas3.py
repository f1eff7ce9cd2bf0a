"""RecBole's data sets on pandas 3, where they would fail or, worse, be filled with wrong numbers.

RecBole 1.2.1 was written for pandas 1 and 2.  On those versions each of these leaves every value as
it is, so that there is one road for all versions.  RecBole's own classes and modules are changed:
its ``create_dataset`` profits as ours does.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.data.dataset import Dataset, dataset, kg_dataset, sequential_dataset
from recbole.utils import FeatureType

from recbole_darec.data.categories import joined_categories

__all__ = [
    "count_cells",
    "fill_missing_values",
    "hand_over_writable_arrays",
    "read_empty_cells",
    "reading_by",
]

_READER: ContextVar[Callable[..., pd.DataFrame] | None] = ContextVar("_READER", default=None)


@contextlib.contextmanager
def reading_by(reader: Callable[..., pd.DataFrame]) -> Iterator[None]:
    """Have RecBole's data sets read their files by ``reader`` instead of ``pandas.read_csv``."""
    read_empty_cells()
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


@functools.cache  # once a process
def count_cells() -> None:
    """Let ``Series.agg(len)`` in RecBole's data sets return the length of each cell again.

    Works around: until pandas 2, ``agg`` called the function for each cell; pandas 3 calls it for
    the column.  A ``token_seq`` column then ends in an error, normalised and discretised
    ``float_seq`` columns and linked entities are cut at wrong places, and every ``item_length`` of
    sequential data is, silently, the number of rows.  All six calls look ``len`` up in their
    module.
    """
    for module in (dataset, kg_dataset, sequential_dataset):
        module.len = _len


def _len(value: Any) -> Any:
    """``len``, of each cell where it is given a column."""
    return value.map(builtins.len) if isinstance(value, pd.Series) else builtins.len(value)


@functools.cache
def read_empty_cells() -> None:
    """Let RecBole read an empty cell of a ``token_seq`` or ``float_seq`` column.

    Works around: RecBole fills such cells through chained assignment, which fills nothing under
    copy-on-write; the cell stays NaN, and ends in ``'float' object has no attribute 'split'``.
    """
    dataset.pd = _Pandas()


class _Pandas:
    """pandas, as ``recbole.data.dataset.dataset`` is to see it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pd, name)

    @staticmethod
    def read_csv(*args: Any, **options: Any) -> pd.DataFrame:
        """``pandas.read_csv`` of an atomic file, whose empty sequences are empty texts."""
        read = _READER.get() or pd.read_csv
        frame = read(*args, **options)
        for column in frame.columns:
            if column.endswith("_seq"):  # <field>:token_seq or <field>:float_seq
                frame[column] = frame[column].fillna("")
        return frame

    @staticmethod
    def concat(frames: Any, **options: Any) -> pd.DataFrame:
        """``pandas.concat``, which makes texts of categories unless they are the same."""
        return pd.concat(joined_categories(frames), **options)


@functools.cache
def fill_missing_values() -> None:
    """Let ``Dataset._fill_nan`` fill missing tokens with the padding, numbers with the mean.

    Works around: as with empty cells, RecBole fills through chained assignment; under copy-on-write
    features of users and items without a row of their own stay NaN.
    """
    recboles = Dataset._fill_nan

    @functools.wraps(recboles)
    def fill_nan(self: Any) -> None:
        for name in self.feat_name_list:
            feat = getattr(self, name)
            for field in feat:
                if self.field2type[field] == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(0)
                elif self.field2type[field] == FeatureType.FLOAT:
                    feat[field] = feat[field].fillna(feat[field].mean())
        recboles(self)

    Dataset._fill_nan = fill_nan


@functools.cache
def hand_over_writable_arrays() -> None:
    """Let RecBole make its tensors from arrays that may be written to.

    Works around: pandas 3 hands out read-only views of its columns.  RecBole's tensors share that
    memory and are changed in place by its loaders, which PyTorch warns of and calls undefined.
    """
    recboles = Dataset._dataframe_to_interaction

    @functools.wraps(recboles)
    def dataframe_to_interaction(self: Any, data: Any) -> Any:
        return recboles(self, _WritableColumns(data))

    Dataset._dataframe_to_interaction = dataframe_to_interaction


class _WritableColumns:
    """The two things that RecBole asks of a frame: its fields, and ``frame[field].values``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame)

    def __getitem__(self, field: str) -> SimpleNamespace:
        values = self._frame[field].values
        if isinstance(values, np.ndarray) and not values.flags.writeable:
            values = values.copy()
        return SimpleNamespace(values=values)

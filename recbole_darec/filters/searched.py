"""The search of a filter's weights on one training part, which is done once for the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.options import FilterOptions
from recbole_darec.filters.tuning import GRID, SEARCH, tuned_weights
from recbole_darec.filters.weights import FilterWeights

__all__ = ["SearchedWeights"]

_DIGESTED_ROWS = 1 << 16


class SearchedWeights:
    """Finds weights, or takes what an earlier run has found on the same data.

    Args:
        options: of the filter.
        interactions: X, scipy CSR ``[n_users, n_items]``.
        items, users: their profiles, ``[n, w]``.
        found_before: ``get(key)`` and ``keep(key, numbers)``; None keeps nothing.
        order: where in the user's sequence an item was last taken, scipy CSR of the entries of X,
            or None.
    """

    def __init__(
        self,
        options: FilterOptions,
        interactions: Any,
        items: Tensor,
        users: Tensor,
        found_before: Any = None,
        order: Any = None,
    ) -> None:
        self._options = options
        self._data = interactions, items, users
        self._found_before, self._order = found_before, order

    def __call__(self, inputs: FilterInputs, fixed: Mapping[str, float]) -> FilterWeights:
        """Return the weights, those that are ``fixed`` among them.

        Args:
            inputs: made of the data.
            fixed: weights that are not searched, by name.
        """
        if self._found_before is None or len(fixed) == len(vars(FilterWeights())):
            return tuned_weights(inputs, fixed)  # where all are fixed, nothing is searched
        asked = f"{self._digest} {sorted(fixed.items())}"
        key = hashlib.sha256(asked.encode()).hexdigest()[:32]
        numbers = self._found_before.get(key)
        if numbers is not None and len(numbers) == len(vars(FilterWeights())):
            return FilterWeights(*numbers)
        found = tuned_weights(inputs, fixed)
        self._found_before.keep(key, list(vars(found).values()))
        return found

    @cached_property
    def _digest(self) -> str:
        """Of all but the fixed weights that the result depends on."""
        interactions, *profiles = self._data
        search = (
            self._options.filter_width,
            self._options.filter_neighbours,
            self._options.filter_search,
        )
        asked = SEARCH, sorted(GRID.items()), search, interactions.shape
        whole = hashlib.sha256(repr(asked).encode())
        arrays = [interactions.indptr, interactions.indices]
        if self._order is not None:
            arrays += [self._order.indptr, self._order.indices, self._order.data]
        for array in arrays:
            whole.update(np.ascontiguousarray(array, dtype=np.int64).data)
        for rows in profiles:
            whole.update(repr((rows.dtype, tuple(rows.shape))).encode())
            for block in torch.split(rows, _DIGESTED_ROWS):
                whole.update(block.cpu().contiguous().numpy().data)
        return whole.hexdigest()

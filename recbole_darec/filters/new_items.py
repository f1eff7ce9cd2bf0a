"""The scores that a fitted filter gives to items that have a profile and no interaction."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.filters.equations import centred_unit_rows
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.parts import FilterParts

__all__ = ["NewItemScores"]


class NewItemScores:
    """Columns of F beyond those of the fitted items: its text pieces, on their scales.

    What such an item has of co-occurrence is 0, and the power of its popularity 1.

    Args:
        fitted: the filter.
        profiles: of its items, float ``[n_items, w]``.
        new: of the new ones, float ``[m, w]``.
    """

    def __init__(self, fitted: FittedFilter, profiles: Tensor, new: Tensor) -> None:
        self._fitted = fitted
        texts = fitted.inputs.item_texts
        self._graph = None if texts is None else texts.columns_of(profiles, new)
        self._rows = centred_unit_rows(profiles, new)

    def scores(self, users: np.ndarray, parts: FilterParts | None = None) -> np.ndarray:
        """Return the new columns of some users, float32 ``[b, m]``.

        Args:
            users: row numbers, int ``[b]``.
            parts: with the rows of these users; the filter's own without it.
        """
        of, w = parts or self._fitted, self._fitted.weights
        found = self._of_graph(of.rows(users)) / of.deviations["graph"]
        if w.user_text and of.inputs.user_texts is not None:
            neighbours = of.neighbours(users)
            found += (w.user_text / of.deviations["users"]) * self._of_graph(neighbours)
        if w.match and of.inputs.user_rows is not None:
            chosen = torch.from_numpy(np.asarray(users, dtype=np.int64))
            cosines = (of.inputs.user_rows[chosen] @ self._rows.T).numpy()
            found += (w.match / of.deviations["match"]) * cosines
        if w.low_pass:
            found /= of.deviations["sum"]
        return found.astype(np.float32)

    def _of_graph(self, rows: Any) -> np.ndarray:
        weight = self._fitted.weights.text / self._fitted.deviations["text"]
        if self._graph is None or not weight:
            return np.zeros((rows.shape[0], len(self._rows)))
        result: np.ndarray = weight * (rows @ self._graph).toarray()
        return result

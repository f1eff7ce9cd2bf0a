"""The scores of a fitted filter for users who are known by what they took, new ones among them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.filters.equations import (
    mix_in_place,
    normalised_rows,
    row_blocks,
    standardise_in_place,
)
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.inputs import means_of_items
from recbole_darec.filters.kept import KEPT_BYTES
from recbole_darec.filters.parts import FilterParts
from recbole_darec.filters.products import ScoreProducts
from recbole_darec.filters.recency import faded
from recbole_darec.numerics import last_places

__all__ = ["HistoryParts", "HistoryScores"]


class HistoryParts(FilterParts):
    """The parts of a fitted filter, with the users' rows of histories in place of its own.

    Such a user has no profile but the mean of the own items'.

    Args:
        fitted: the filter.
    """

    def __init__(self, fitted: FittedFilter) -> None:
        self.inputs = replace(fitted.inputs, user_texts=None)
        self.weights, self.deviations = fitted.weights, fitted.deviations
        self.cooccurrence, self.popularity = fitted.cooccurrence, fitted.popularity
        self.low_pass = fitted.low_pass
        self._y = self._asked = fitted.rows(np.arange(0))
        self._item_degrees = np.asarray(fitted.inputs.interactions.sum(0)).ravel()
        items = fitted.inputs.item_rows
        self._item_rows = None if items is None else items.cpu()

    def ask(self, histories: Any) -> np.ndarray:
        """Take histories in, and return the numbers of their users.

        Args:
            histories: the place of each item in its user's sequence, from 1 on, scipy CSR
                ``[b, n_items]``.
        """
        w, taken = self.weights, histories.sign()
        self._y = normalised_rows(taken, self._item_degrees, 0.5, w.item_exponent)
        self._asked = faded(self._y, histories, w.recency)
        if self.low_pass is not None:
            smooth = normalised_rows(taken, self._item_degrees, 0.5, 0.5)
            self.low_pass = self.low_pass.of(faded(smooth, histories, w.recency))
        items = self.inputs.item_rows
        if items is not None and self._item_rows is not None:
            means = means_of_items(faded(taken, histories, w.recency), self._item_rows)
            self.inputs = replace(self.inputs, user_rows=means.to(items.device))
        return np.arange(histories.shape[0])


class HistoryScores:
    """z(F) of users who are known by what they took, on one device.

    Up to :data:`.kept.KEPT_BYTES` are kept: the next evaluation asks for the same users, a batch
    at a time.

    Args:
        fitted: the filter.
        device: of the scores that it is mixed with.

    Attributes:
        fitted, device: as given.
        parts: of the users that were last asked for.
    """

    def __init__(self, fitted: FittedFilter, device: torch.device) -> None:
        self.fitted, self.device = fitted, device
        self.parts = HistoryParts(fitted)
        self._products = ScoreProducts(self.parts, device)
        self._kept: dict[bytes, Tensor] = {}
        self._room = KEPT_BYTES

    def scores(self, histories: Tensor) -> Tensor:
        """Return the rows F, float32 ``[b, n_items]``.

        Args:
            histories: row numbers of items in the order in which they were taken, -1 where there is
                none, int64 ``[b, L]``; of an item that stands there twice the last counts.
        """
        return self._products.scores(self.parts.ask(_matrix(histories, self.fitted.n_items)))

    def mix_into(self, scores: Tensor, histories: Tensor, weight: float) -> None:
        """Make ``(1 - w) z(scores) + w z(F)`` of scores, in their place.

        Args:
            scores: float ``[b, n_items]`` on the device.
            histories: as :meth:`scores` takes them.
            weight: w.
        """
        height = self._products.height
        for part, asked in zip(torch.split(scores, height), torch.split(histories, height)):
            made = self._standardised(asked)
            for rows in row_blocks(len(part), part.shape[1], self.device):
                mix_in_place(part[rows], made[rows], weight)

    def _standardised(self, histories: Tensor) -> Tensor:
        """Return z(F), ``[b, n_items]``, which is not to be written to."""
        asked = np.ascontiguousarray(histories.cpu().numpy(), dtype=np.int64)
        key = hashlib.blake2b(asked.data, salt=str(asked.shape[1]).encode()).digest()
        if key in self._kept:
            return self._kept[key]
        made = self.scores(histories)
        for rows in row_blocks(len(made), made.shape[1], self.device):
            standardise_in_place(made[rows])
        if made.nbytes <= self._room:
            self._kept[key] = made
            self._room -= made.nbytes
        return made


def _matrix(histories: Tensor, n_items: int) -> Any:
    """Return the last place of each item in its history, scipy CSR ``[b, n_items]``."""
    asked = histories.cpu().numpy()
    row, place = np.nonzero(asked >= 0)
    return last_places(row, asked[row, place], (len(asked), n_items))

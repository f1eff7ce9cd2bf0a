"""The parts of a filter with given weights, out of which its scores are made."""

from __future__ import annotations

from typing import Any

import numpy as np

from recbole_darec.filters.cooccurrence import Cooccurrence
from recbole_darec.filters.equations import normalised_interactions
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.low_pass import LowPass
from recbole_darec.filters.recency import faded
from recbole_darec.filters.weights import FilterWeights

__all__ = ["FilterParts"]

_PIECES = ("once", "twice", "text", "graph", "users", "match", "sum", "low")


class FilterParts:
    """What a filter is made of, and the users' rows that pass through it.

    Args:
        inputs: interactions, graphs and profiles.
        weights: of the pieces.

    Attributes:
        inputs, weights: as given.
        cooccurrence: P.
        popularity: each item's degree to the power p, float32 ``[n_items]``.
        low_pass: L, or None where its weight is 0.
        deviations: of each piece's scores, by which it is divided; 1 until they are measured.
    """

    def __init__(self, inputs: FilterInputs, weights: FilterWeights) -> None:
        self.inputs = inputs.fading(weights.recency) if weights.match else inputs
        self.weights = weights
        self._y = normalised_interactions(inputs.interactions, 0.5, weights.item_exponent)
        self._asked = faded(self._y, inputs.order, weights.recency)
        self.cooccurrence = Cooccurrence(self._y)
        degrees = np.asarray(inputs.interactions.sum(0)).ravel()
        self.popularity = np.power(degrees.clip(min=1.0), weights.popularity).astype(np.float32)
        self.low_pass = None
        if weights.low_pass:
            low_pass = LowPass(inputs.interactions, int(weights.low_pass_width))
            self.low_pass = low_pass.fading(inputs.order, weights.recency)
        self.deviations = dict.fromkeys(_PIECES, 1.0)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self._y.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self._y.shape[1])

    def rows(self, users: np.ndarray) -> Any:
        """Return the rows of Y of some users, by recency, scipy CSR ``[b, n_items]``."""
        return self._asked[users]

    def neighbours(self, users: np.ndarray) -> Any:
        """Return the rows of S Y of some users, scipy CSR ``[b, n_items]``."""
        assert self.inputs.user_texts is not None
        return self.inputs.user_texts.matrix[users] @ self._y

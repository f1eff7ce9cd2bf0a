"""MarkovChain: what followed the last item in training, by counts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recbole_darec.backbones.sequential.counted import CountedRecommender
from recbole_darec.settings.options import Options

__all__ = ["MarkovChain", "MarkovChainOptions"]


class MarkovChainOptions(Options):
    """MarkovChain has no options of its own; there is one epoch, in which nothing is trained."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"epochs": 1}


class MarkovChain(CountedRecommender):
    """First order: an item's score is how often it came right behind the sequence's last item."""

    Options: ClassVar[type] = MarkovChainOptions

    def count(self, users: np.ndarray, items: np.ndarray) -> None:
        """Count the neighbours of one user."""
        same = users[1:] == users[:-1]
        self._follows = self.matrix(items[:-1][same], items[1:][same])

    def scores_of(self, sequences: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the row of each sequence's last item."""
        last = sequences[np.arange(len(sequences)), lengths - 1]
        found: np.ndarray = self._follows[last].toarray()
        return found

"""SequenceKNN: the items most like those of the sequence, by who has both in training."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix, diags

from recbole_darec.backbones.sequential.counted import CountedRecommender
from recbole_darec.settings.options import Options, option, options_from_config

__all__ = ["SequenceKNN", "SequenceKNNOptions"]


class SequenceKNNOptions(Options):
    """Options of SequenceKNN; there is one epoch, in which nothing is trained."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"epochs": 1}

    knn_neighbours: int | str = option(
        "all", "Items that are like one: the most similar ones, or all.", low=1, or_word="all"
    )


class SequenceKNN(CountedRecommender):
    """Item-kNN: the cosine of two items' users, summed over the sequence's distinct items."""

    Options: ClassVar[type] = SequenceKNNOptions
    smallest_gap = 1e-9

    def __init__(self, config: Any, dataset: Any) -> None:
        self._neighbours = options_from_config(SequenceKNNOptions, config).knn_neighbours
        super().__init__(config, dataset)

    def count(self, users: np.ndarray, items: np.ndarray) -> None:
        """Find the most similar items of each."""
        ones = np.ones(len(users))
        taken = csr_matrix((ones, (users, items)), shape=(self.n_users, self.n_items))
        taken.data[:] = 1.0  # the same pair again adds nothing
        together = (taken.T @ taken).tocsr()
        norms = np.sqrt(np.maximum(together.diagonal(), 1.0))
        together = (together - diags(together.diagonal(), format="csr")).tocsr()
        together.eliminate_zeros()
        rows = np.repeat(np.arange(self.n_items), np.diff(together.indptr))
        cosine = together.data / (norms[rows] * norms[together.indices])
        kept = np.arange(len(rows))
        if not isinstance(self._neighbours, str):
            # By row, then by similarity; the place within the row says which to keep.
            kept = np.lexsort((together.indices, -cosine, rows))
            place = np.arange(len(rows)) - together.indptr[rows]
            kept = kept[place < self._neighbours]
        self._similar = csr_matrix(
            (cosine[kept], (rows[kept], together.indices[kept])),
            shape=(self.n_items, self.n_items),
        )

    def scores_of(self, sequences: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the summed similarities."""
        row, place = np.nonzero(sequences)
        items = sequences[row, place]
        there = csr_matrix((np.ones(len(row)), (row, items)), (len(sequences), self.n_items))
        there.data[:] = 1.0
        found: np.ndarray = (there @ self._similar).toarray()
        return found

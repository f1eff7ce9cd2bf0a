"""A text filter fitted to a training matrix and to profiles, and the scores that it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_darec.filters.cooccurrence import Cooccurrence
from recbole_darec.filters.equations import normalised_interactions, row_blocks
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.low_pass import LowPass
from recbole_darec.filters.weights import FilterWeights

__all__ = ["FittedFilter", "add_sparse", "dense", "deviations", "user_blocks"]

# The deviations of the pieces are taken from the scores of so many evenly spaced users, fewer where
# there are many items; and the elements of one block of their scores.
_DEVIATION_USERS, _FEWEST_DEVIATION_USERS = 2048, 256
_DEVIATION_ELEMENTS = 1 << 28
_BLOCK_ELEMENTS = 1 << 24
_MOMENT_ELEMENTS = 1 << 17
_NO_VARIANCE = 1e-20
_PIECES = ("once", "twice", "text", "graph", "users", "match", "sum", "low")


class FittedFilter:
    """The scores F of a filter, a batch of users at a time.

    Args:
        inputs: interactions, graphs and profiles.
        weights: of the pieces.
        measured: whether to measure the deviations; without them :meth:`scores` is not to be asked.

    Attributes:
        weights: as given.
        deviations: of each piece's scores, by which it is divided.
    """

    def __init__(
        self, inputs: FilterInputs, weights: FilterWeights, *, measured: bool = True
    ) -> None:
        self.inputs = inputs
        self.weights = weights
        self._y = normalised_interactions(inputs.interactions, 0.5, weights.item_exponent)
        self._p = Cooccurrence(self._y)
        degrees = np.asarray(inputs.interactions.sum(0)).ravel()
        self._popularity = np.power(degrees.clip(min=1.0), weights.popularity).astype(np.float32)
        self._low_pass = (
            LowPass(inputs.interactions, int(weights.low_pass_width)) if weights.low_pass else None
        )
        self.deviations = dict.fromkeys(_PIECES, 1.0)
        if measured:
            self._measure()

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self._y.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self._y.shape[1])

    def rows(self, users: np.ndarray) -> Any:
        """Return the rows of Y of some users, scipy CSR ``[b, n_items]``."""
        return self._y[users]

    def neighbours(self, users: np.ndarray) -> Any:
        """Return the rows of S Y of some users, scipy CSR ``[b, n_items]``."""
        assert self.inputs.user_texts is not None
        return self.inputs.user_texts.matrix[users] @ self._y

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return the rows F of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
        """
        found = np.empty((len(users), self.n_items), dtype=np.float32)
        for rows in row_blocks(*found.shape):
            found[rows] = self._scores(users[rows])
        return found

    def _scores(self, users: np.ndarray) -> np.ndarray:
        found = self._sum(users)
        if self._low_pass is not None:
            found *= np.float32(1.0 / self.deviations["sum"])
            low = np.float32(self.weights.low_pass / self.deviations["low"])
            found += low * self._low_pass.scores(users)
        return found

    def _sum(self, users: np.ndarray) -> np.ndarray:
        """Return F0 + h J + g S F0 of some users, each by its deviation."""
        deviation, w = self.deviations, self.weights
        rows = self.rows(users) * np.float32(1.0 / deviation["graph"])
        if w.user_text and self.inputs.user_texts is not None:
            # F0 is linear in the rows: those of Y and of S Y pass through it together.
            rows = rows + self.neighbours(users) * np.float32(w.user_text / deviation["users"])
        found = self._graph_scores(rows)
        if w.match and self.inputs.user_rows is not None:
            found += np.float32(w.match / deviation["match"]) * self.matches(users)
        return found

    def matches(self, users: np.ndarray) -> np.ndarray:
        """Return the rows J of some users: cosines of their profiles with the items'."""
        assert self.inputs.user_rows is not None
        assert self.inputs.item_rows is not None
        chosen = torch.from_numpy(np.asarray(users, dtype=np.int64))
        return (self.inputs.user_rows[chosen] @ self.inputs.item_rows.T).numpy()

    def pieces(self, rows: Any) -> dict[str, Any]:
        """Return ``rows P``, ``rows P²`` and ``rows T``, as far as their weights are not 0.

        Args:
            rows: of Y or of S Y, scipy CSR ``[b, n_items]``.

        Returns:
            each ``[b, n_items]``: scipy CSR while that is sparse, else a NumPy array.
        """
        found = {"once": self._p.of(rows)}
        if self.weights.two_hops:
            found["once"] = dense(found["once"])  # it is not sparse after a second step
            found["twice"] = self._p.of_dense(found["once"])
        if self.weights.text and self.inputs.item_texts is not None:
            found["text"] = rows @ self.inputs.item_texts.matrix
        return found

    def _graph_scores(self, rows: Any) -> np.ndarray:
        """Return F0 for rows of Y, or of S Y: the filter is linear in them."""
        weights = {"once": 1.0, "twice": self.weights.two_hops, "text": self.weights.text}
        total: np.ndarray | None = None
        for name, piece in self.pieces(rows).items():
            piece *= np.float32(weights[name] / self.deviations[name])
            if total is None:
                total = dense(piece)
            elif sp.issparse(piece):
                add_sparse(total, piece)
            else:
                total += piece
        assert total is not None
        if self.weights.popularity:
            total *= self._popularity
        return total

    def _measure(self) -> None:
        """Find the deviation of each piece's scores over evenly spaced users."""
        fit = max(_FEWEST_DEVIATION_USERS, _DEVIATION_ELEMENTS // max(1, self.n_items))
        blocks = list(user_blocks(self.n_users, self.n_items, min(_DEVIATION_USERS, fit)))
        self.deviations.update(deviations(self.pieces(self.rows(users)) for users in blocks))
        self.deviations.update(deviations(self.whole_pieces(users) for users in blocks))
        if self._low_pass is not None:
            low_pass = self._low_pass
            self.deviations.update(
                deviations(
                    {"sum": self._sum(users), "low": low_pass.scores(users)} for users in blocks
                )
            )

    def whole_pieces(self, users: np.ndarray) -> dict[str, np.ndarray]:
        """Return F0, S F0 and J of some users, as far as their weights are not 0."""
        found = {"graph": self._graph_scores(self._y[users])}
        if self.weights.user_text and self.inputs.user_texts is not None:
            found["users"] = self._graph_scores(self.neighbours(users))
        if self.weights.match and self.inputs.user_rows is not None:
            found["match"] = self.matches(users)
        return found


def user_blocks(n_users: int, n_items: int, most: int) -> Iterator[np.ndarray]:
    """Yield blocks of row numbers of at most ``most`` evenly spaced users."""
    chosen = np.unique(np.linspace(0, n_users - 1, min(most, n_users)).astype(np.int64))
    height = max(1, _BLOCK_ELEMENTS // max(1, n_items))
    for start in range(0, len(chosen), height):
        yield chosen[start : start + height]


def deviations(blocks: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the standard deviation of each named piece over all blocks; 1 where it is 0."""
    sums: dict[str, torch.Tensor] = {}
    for pieces in blocks:
        for name, piece in pieces.items():
            values = torch.from_numpy(piece.data if sp.issparse(piece) else dense(piece)).flatten()
            total = sums.setdefault(name, torch.zeros(3, dtype=torch.float64))
            total[0] += piece.shape[0] * piece.shape[1]
            for part in torch.split(values, _MOMENT_ELEMENTS):  # in double precision, a few at once
                part = part.double()
                total[1:] += torch.stack([part.sum(), part.square().sum()])
    found = {}
    for name, moments in sums.items():
        count, total_, squares = moments.tolist()
        variance = squares / count - (total_ / count) ** 2
        found[name] = variance**0.5 if variance > _NO_VARIANCE else 1.0
    return found


def dense(piece: Any) -> np.ndarray:
    """Return a piece as a NumPy array ``[b, n_items]`` whose rows are contiguous."""
    found = piece.toarray() if sp.issparse(piece) else piece
    return np.ascontiguousarray(found)


def add_sparse(total: np.ndarray, piece: Any) -> None:
    """Add a scipy CSR matrix, each entry of which stands there once, to an array in place."""
    total[np.repeat(np.arange(total.shape[0]), np.diff(piece.indptr)), piece.indices] += piece.data

"""A text filter fitted to a training matrix and to profiles, and the scores that it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.parts import FilterParts
from recbole_darec.filters.products import ScoreProducts
from recbole_darec.filters.weights import FilterWeights

__all__ = ["FittedFilter", "dense", "deviations", "user_blocks"]

# The deviations of the pieces are taken from the scores of so many evenly spaced users, fewer where
# there are many items; and the elements of one block of their scores.
_DEVIATION_USERS, _FEWEST_DEVIATION_USERS = 2048, 256
_DEVIATION_ELEMENTS = 1 << 28
_BLOCK_ELEMENTS = 1 << 24
_MOMENT_ELEMENTS = 1 << 17
_NO_VARIANCE = 1e-20
_CPU = torch.device("cpu")


class FittedFilter(FilterParts):
    """The scores F of a filter, a batch of users at a time.

    Args:
        inputs: interactions, graphs and profiles.
        weights: of the pieces.
        measured: whether to measure the deviations; without them :meth:`scores` is not to be asked.
    """

    def __init__(
        self, inputs: FilterInputs, weights: FilterWeights, *, measured: bool = True
    ) -> None:
        super().__init__(inputs, weights)
        self._products: dict[torch.device, ScoreProducts] = {}
        if measured:
            self._measure()

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return the rows F of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
        """
        return self.on(_CPU).scores(users).numpy()

    def on(self, device: torch.device) -> ScoreProducts:
        """Return the products that make the scores on a device, made once."""
        if device not in self._products:
            self._products[device] = ScoreProducts(self, device)
        return self._products[device]

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
        found = {"once": self.cooccurrence.of(rows)}
        if self.weights.two_hops:
            found["once"] = dense(found["once"])  # it is not sparse after a second step
            found["twice"] = self.cooccurrence.of_dense(found["once"])
        if self.weights.text and self.inputs.item_texts is not None:
            found["text"] = rows @ self.inputs.item_texts.matrix
        return found

    def _measure(self) -> None:
        """Find the deviation of each piece's scores over evenly spaced users."""
        fit = max(_FEWEST_DEVIATION_USERS, _DEVIATION_ELEMENTS // max(1, self.n_items))
        blocks = list(user_blocks(self.n_users, self.n_items, min(_DEVIATION_USERS, fit)))
        self.deviations.update(deviations(self.pieces(self.rows(users)) for users in blocks))
        self.deviations.update(deviations(self.whole_pieces(users) for users in blocks))
        if self.low_pass is not None:
            low_pass = self.low_pass
            self.deviations.update(
                deviations(
                    {"sum": self.on(_CPU).sums(users).numpy(), "low": low_pass.scores(users)}
                    for users in blocks
                )
            )

    def whole_pieces(self, users: np.ndarray) -> dict[str, np.ndarray]:
        """Return F0, S F0 and J of some users, as far as their weights are not 0."""
        graph = self.on(_CPU).graph
        found: dict[str, Any] = {"graph": graph(self.rows(users))}
        if self.weights.user_text and self.inputs.user_texts is not None:
            found["users"] = graph(self.neighbours(users))
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

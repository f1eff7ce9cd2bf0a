"""A text filter fitted to a training matrix and to profiles, and the scores that it gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.filters.equations import (
    centred_unit_rows,
    largest_eigenvalue,
    normalised_interactions,
    text_graph,
    two_step,
)
from recbole_darec.numerics.rows import unit_rows

__all__ = ["FilterInputs", "FilterWeights", "FittedFilter"]

# Users whose scores the deviations of the pieces are taken from, evenly spaced; and the elements of
# one block of their scores.
_DEVIATION_USERS = 2048
_BLOCK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class FilterWeights:
    """The weights of the pieces of a filter.

    Attributes:
        two_hops: c, of Y P² beside Y P.
        text: t, of Y T beside Y P.
        popularity: p; each item's sum of the three is multiplied by its degree to this power.
        match: h, of the cosine of a user's and an item's profile.
        user_text: g, of the sums of the user's profile neighbours.
        item_exponent: of the items' degrees in Y.
    """

    two_hops: float = 0.0
    text: float = 0.0
    popularity: float = 0.0
    match: float = 0.0
    user_text: float = 0.0
    item_exponent: float = 0.3

    @property
    def reads_items(self) -> bool:
        """Whether an item's profile has a weight, so that one without interactions can score."""
        return bool(self.text or self.match)

    def without_text(self) -> FilterWeights:
        """Return the control: the same filter with t = h = g = 0."""
        return replace(self, text=0.0, match=0.0, user_text=0.0)


@dataclass(frozen=True)
class FilterInputs:
    """What a filter is made of, whatever its weights.

    Attributes:
        interactions: X, scipy CSR ``[n_users, n_items]``, binary.
        item_graph: T, scipy CSR ``[n_items, n_items]``, or None without item profiles.
        user_graph: S, scipy CSR ``[n_users, n_users]``, or None without user profiles.
        item_rows: centred unit profiles of the items, float32 ``[n_items, w]``, or None.
        user_rows: those of the users; a user without one has the mean of the own training items'.
    """

    interactions: Any
    item_graph: Any = None
    user_graph: Any = None
    item_rows: Tensor | None = None
    user_rows: Tensor | None = None

    @classmethod
    def of(
        cls,
        interactions: Any,
        item_profiles: Tensor | None = None,
        user_profiles: Tensor | None = None,
        *,
        width: int = 128,
        n_neighbours: int = 20,
    ) -> FilterInputs:
        """Make the graphs and the centred rows of profiles; a zero row is no profile.

        Profiles that are all zero are as none at all.

        Args:
            interactions: X, scipy sparse ``[n_users, n_items]``; values other than 0 count as 1.
            item_profiles: float ``[n_items, w]``, or None.
            user_profiles: float ``[n_users, w]``, or None.
            width: leading directions in which profiles are compared.
            n_neighbours: profile neighbours of a row.
        """
        item_profiles, user_profiles = (
            rows if rows is not None and bool((rows != 0).any()) else None
            for rows in (item_profiles, user_profiles)
        )
        matrix = sp.csr_matrix(interactions, dtype=np.float32)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        graphs = [
            None if rows is None else text_graph(rows, width=width, n_neighbours=n_neighbours)
            for rows in (item_profiles, user_profiles)
        ]
        items = None if item_profiles is None else centred_unit_rows(item_profiles)
        users = None
        if items is not None and (
            user_profiles is None or user_profiles.shape[1] == items.shape[1]
        ):
            users = _user_rows(matrix, items, user_profiles)
        return cls(matrix, graphs[0], graphs[1], items if users is not None else None, users)

    @property
    def has_text(self) -> bool:
        """Tell whether any piece reads a profile."""
        return not (self.item_graph is None and self.user_graph is None)

    def trained_on(self, interactions: Any) -> FilterInputs:
        """Return the same texts over other interactions."""
        return replace(self, interactions=interactions)


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
        self._y_transposed = sp.csr_matrix(self._y.T)
        self._eigenvalue = largest_eigenvalue(self._y)
        degrees = np.asarray(inputs.interactions.sum(0)).ravel()
        self._popularity = np.power(degrees.clip(min=1.0), weights.popularity).astype(np.float32)
        self.deviations = dict.fromkeys(("once", "twice", "text", "graph", "users", "match"), 1.0)
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
        return self.inputs.user_graph[users] @ self._y

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return the rows F of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
        """
        deviation = self.deviations
        w = self.weights
        rows = self.rows(users)
        found = self._graph_scores(rows) / deviation["graph"]
        if w.user_text and self.inputs.user_graph is not None:
            neighbours = self.neighbours(users)
            found += (w.user_text / deviation["users"]) * self._graph_scores(neighbours)
        if w.match and self.inputs.user_rows is not None:
            found += (w.match / deviation["match"]) * self.matches(users)
        return found

    def matches(self, users: np.ndarray) -> np.ndarray:
        """Return the rows J of some users: cosines of their profiles with the items'."""
        assert self.inputs.user_rows is not None
        assert self.inputs.item_rows is not None
        chosen = torch.from_numpy(np.asarray(users, dtype=np.int64))
        return (self.inputs.user_rows[chosen] @ self.inputs.item_rows.T).numpy()

    def pieces(self, rows: Any) -> dict[str, np.ndarray]:
        """Return ``rows P``, ``rows P²`` and ``rows T``, as far as their weights are not 0.

        Args:
            rows: of Y or of S Y, scipy CSR ``[b, n_items]``.
        """
        once = two_step(rows, self._y, self._y_transposed, self._eigenvalue)
        found = {"once": once.toarray()}
        if self.weights.two_hops:
            # Sparse times sparse is the faster one while the rows are sparse; after two steps over
            # a data set of some size they are not.
            found["twice"] = _dense_two_step(
                found["once"], self._y, self._y_transposed, self._eigenvalue
            )
        if self.weights.text and self.inputs.item_graph is not None:
            found["text"] = (rows @ self.inputs.item_graph).toarray()
        return found

    def _graph_scores(self, rows: Any) -> np.ndarray:
        """Return F0 for rows of Y, or of S Y: the filter is linear in them."""
        found = self.pieces(rows)
        factors = {"once": 1.0, "twice": self.weights.two_hops, "text": self.weights.text}
        total: np.ndarray = found.pop("once")
        total /= np.float32(self.deviations["once"])
        for name, piece in found.items():
            total += np.float32(factors[name] / self.deviations[name]) * piece
        total *= self._popularity
        return total

    def _measure(self) -> None:
        """Find the deviation of each piece's scores over evenly spaced users."""
        blocks = list(user_blocks(self.n_users, self.n_items, _DEVIATION_USERS))
        self.deviations.update(_deviations(self.pieces(self.rows(users)) for users in blocks))
        self.deviations.update(_deviations(self.whole_pieces(users) for users in blocks))

    def whole_pieces(self, users: np.ndarray) -> dict[str, np.ndarray]:
        """Return F0, S F0 and J of some users, as far as their weights are not 0."""
        found = {"graph": self._graph_scores(self._y[users])}
        if self.weights.user_text and self.inputs.user_graph is not None:
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


def _deviations(blocks: Any) -> dict[str, float]:
    """Return the standard deviation of each named piece over all blocks; 1 where it is 0."""
    sums: dict[str, np.ndarray] = {}
    for pieces in blocks:
        for name, piece in pieces.items():
            moments = [piece.size, piece.sum(dtype=np.float64), np.square(piece).sum(dtype=float)]
            sums[name] = sums.get(name, np.zeros(3)) + np.array(moments)
    found = {}
    for name, (count, total, squares) in sums.items():
        variance = squares / count - (total / count) ** 2
        found[name] = float(np.sqrt(variance)) if variance > 1e-20 else 1.0
    return found


def _dense_two_step(rows: np.ndarray, matrix: Any, transpose: Any, eigenvalue: float) -> np.ndarray:
    """Return :func:`two_step` of dense rows, as products of the sparse matrix with columns."""
    columns = np.ascontiguousarray(rows.T)
    result: np.ndarray = (transpose @ (matrix @ columns)).T
    return result * np.float32(1.0 / eigenvalue)


def _user_rows(matrix: Any, items: Tensor, profiles: Tensor | None) -> Tensor:
    """Return the users' centred unit profiles, the mean of their items' for those without one."""
    means = unit_rows(torch.from_numpy(np.asarray(matrix @ items.cpu().numpy())), eps=1e-6)
    if profiles is None:
        return means
    found = centred_unit_rows(profiles)
    missing = ~(profiles != 0).any(1)
    found[missing] = means[missing]
    return found

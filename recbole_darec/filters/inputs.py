"""What a text filter is made of: a training matrix, and what profiles say beside it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.filters.equations import centred_unit_rows, present_rows
from recbole_darec.filters.recency import faded
from recbole_darec.filters.text_graph import TextGraph
from recbole_darec.filters.weights import TEXT_PIECES
from recbole_darec.numerics.rows import unit_rows

__all__ = ["FilterInputs", "means_of_items", "rows_of_users"]


@dataclass(frozen=True)
class FilterInputs:
    """What a filter is made of, whatever its weights.

    Attributes:
        interactions: X, scipy CSR ``[n_users, n_items]``, binary.
        item_texts: T, or None without item profiles.
        user_texts: S, or None without user profiles.
        item_rows: centred unit profiles of the items, float32 ``[n_items, w]``, or None.
        user_rows: those of the users; a user without one has the mean of the own training items'.
        means: numbers of the users that have such a mean, or None.
        order: where in the user's sequence an item was last taken, scipy CSR of X's entries; None
            where the order does not count.
    """

    interactions: Any
    item_texts: TextGraph | None = None
    user_texts: TextGraph | None = None
    item_rows: Tensor | None = None
    user_rows: Tensor | None = None
    means: np.ndarray | None = None
    order: Any = None

    @classmethod
    def of(
        cls,
        interactions: Any,
        item_profiles: Tensor | None = None,
        user_profiles: Tensor | None = None,
        *,
        order: Any = None,
        pieces: Collection[str] = TEXT_PIECES,
        width: int = 128,
        n_neighbours: int = 20,
        search: str = "auto",
        device: Any = None,
    ) -> FilterInputs:
        """Make the graphs and the centred rows of profiles; a zero row is no profile.

        Profiles that are all zero are as none at all.

        Args:
            interactions: X, scipy sparse ``[n_users, n_items]``; values other than 0 count as 1.
            item_profiles: float ``[n_items, w]``, or None.
            user_profiles: float ``[n_users, w]``, or None.
            order: as the attribute.
            pieces: those of the texts that may have a weight, by its name; others are not made.
            width: leading directions in which profiles are compared.
            n_neighbours: profile neighbours of a row.
            search, device: as :meth:`TextGraph.of` takes them.
        """
        item_profiles, user_profiles = (
            rows if rows is not None and bool(rows.any()) else None
            for rows in (item_profiles, user_profiles)
        )
        matrix = sp.csr_matrix(interactions, dtype=np.float32)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        item_texts, user_texts = (
            None
            if rows is None or piece not in pieces
            else TextGraph.of(
                rows, width=width, n_neighbours=n_neighbours, search=search, device=device
            )
            for rows, piece in ((item_profiles, "text"), (user_profiles, "user_text"))
        )
        comparable = item_profiles is not None and (
            user_profiles is None or user_profiles.shape[1] == item_profiles.shape[1]
        )
        if item_profiles is None or not comparable or "match" not in pieces:
            return cls(matrix, item_texts, user_texts, order=order)
        items = centred_unit_rows(item_profiles)
        users = rows_of_users(matrix, items, user_profiles)
        means = _without_profile(user_profiles, len(users))
        return cls(matrix, item_texts, user_texts, items, users, means, order)

    def trained_on(self, interactions: Any) -> FilterInputs:
        """Return the same texts over other interactions, of which the means of items are taken."""
        order = self.order
        if order is not None:
            order = sp.csr_matrix(order.multiply(interactions))
        found = replace(self, interactions=interactions, order=order)
        return found._with_means(interactions)

    def fading(self, recency: float) -> FilterInputs:
        """Return the same with means in which each item counts by its recency r."""
        if not recency or self.order is None:
            return self
        return self._with_means(faded(self.interactions, self.order, recency))

    def _with_means(self, interactions: Any) -> FilterInputs:
        """Return the same with the means of what users took, each item by its entry."""
        if self.item_rows is None or self.user_rows is None or self.means is None:
            return self
        rows = self.user_rows.clone()
        rows[self.means] = means_of_items(interactions[self.means], self.item_rows).to(rows.device)
        return replace(self, user_rows=rows)


def rows_of_users(matrix: Any, items: Tensor, profiles: Tensor | None) -> Tensor:
    """Return the users' centred unit profiles, the mean of their items' for those without one."""
    means = means_of_items(matrix, items)
    if profiles is None:
        return means
    found = centred_unit_rows(profiles)
    missing = _without_profile(profiles, len(found))
    found[missing] = means[missing]
    return found


def _without_profile(profiles: Tensor | None, count: int) -> np.ndarray:
    """Return the numbers of the users without a profile."""
    everyone = np.arange(count)
    return everyone if profiles is None else np.setdiff1d(everyone, present_rows(profiles))


def means_of_items(matrix: Any, items: Tensor) -> Tensor:
    """Return the directions of the means of each user's item rows, unit rows ``[n_users, w]``."""
    return unit_rows(torch.from_numpy(np.asarray(matrix @ items.cpu().numpy())), eps=1e-6)

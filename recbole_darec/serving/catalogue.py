"""What may be recommended, and lists of it as frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from recbole_darec.aligned.new_rows import WithNewItems
from recbole_darec.errors import OptionError
from recbole_darec.serving.scores import Ranked
from recbole_darec.serving.tokens import Ids

__all__ = ["Catalogue", "check_k", "frame_of", "popular_of"]


@dataclass(frozen=True)
class Catalogue:
    """What may be recommended.

    Attributes:
        items: ids of the model's items, and of new ones behind them.
        first: row number of the first that may be recommended.
        vectors: of users and of these items, None where scores are no inner products.
        ranked: scores of the model's items and the new ones, None without new ones.
    """

    items: Ids
    first: int
    vectors: Mapping[str, Tensor] | None
    ranked: WithNewItems | None

    def candidates(
        self, exclude_items: Sequence[str], only_items: Sequence[str] | None
    ) -> np.ndarray:
        """Return the row numbers of what may be recommended, ascending."""
        allowed = np.ones(len(self.items), dtype=bool)
        if only_items is not None:
            allowed[:] = False
            allowed[self.items.known_rows(only_items, "the items to choose from")] = True
        if len(exclude_items):
            allowed[self.items.known_rows(exclude_items, "the items to leave out")] = False
        allowed[: self.first] = False
        return np.flatnonzero(allowed)


def popular_of(
    users: list[str], catalogue: Catalogue, candidates: np.ndarray, counts: np.ndarray, k: int
) -> pd.DataFrame:
    """Return for each user the items with the most training interactions, score their count.

    Args:
        users: ids of users of whom nothing is known.
        catalogue: what may be recommended.
        candidates: row numbers out of it.
        counts: training interactions of the model's items; new ones have none.
        k: items per user.
    """
    of_all = np.zeros(len(catalogue.items), dtype=np.int64)
    of_all[: len(counts)] = counts
    order = np.argsort(-of_all[candidates], kind="stable")[:k]
    items = np.tile(candidates[order], (len(users), 1))
    ids = Ids("user", ["", *users])
    found = Ranked(np.arange(1, len(ids)), items, of_all[items].astype(np.float32))
    return frame_of(ids, catalogue.items, found, ("user_id", "item_id"))


def check_k(k: int, most: int, what: str) -> None:
    """Refuse lists of none, or longer than there is to list.

    Raises:
        OptionError: in one line, with how many there are.
    """
    if k < 1:
        raise OptionError(f"k={k}: must be at least 1")
    if k > most:
        raise OptionError(f"k={k}: there are only {max(most, 0):,} {what}")


def frame_of(askers: Ids, listed: Ids, found: Ranked, names: tuple[str, str]) -> pd.DataFrame:
    """Return one line per recommendation; lists end before k where nothing else is left.

    Args:
        askers: ids of ``found.users``.
        listed: ids of ``found.items``.
        found: what was ranked.
        names: names of the columns of the askers and of the listed.
    """
    there = ~np.isneginf(found.scores)
    ranks = np.broadcast_to(np.arange(1, there.shape[1] + 1, dtype=np.int32), there.shape)
    return pd.DataFrame(
        {
            names[0]: askers.tokens[np.repeat(found.users, there.sum(axis=1))],
            "rank": ranks[there],
            names[1]: listed.tokens[found.items[there]],
            "score": found.scores[there],
        }
    )

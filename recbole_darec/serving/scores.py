"""The k best items of many users, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.numerics.precision import flushed_denormals
from recbole_darec.numerics.topk import top_k_in_blocks

__all__ = ["ModelScores", "Ranked", "Scores", "VectorScores", "best", "mean_over_users"]

_FLOAT = 4
_FEWEST_USERS = 64  # of a block; where their scores do not fit, the items are split instead


@dataclass(frozen=True)
class Ranked:
    """The best items of a block of users.

    Attributes:
        users: row numbers, int64 ``[b]``.
        items: row numbers, int64 ``[b, k]``, best first.
        scores: float32 ``[b, k]``; minus infinity where fewer than k items are left.
    """

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray


class Scores(Protocol):
    """Scores of the items that may be recommended."""

    items: Tensor
    """Their row numbers, ascending, int64 ``[n]``."""

    splits: bool
    """Whether a part of the items can be scored by itself."""

    def of(self, users: Tensor, start: int, end: int) -> Tensor:
        """Return the scores ``[b, end - start]`` of ``items[start:end]``."""
        ...


class VectorScores:
    """Inner products of vectors.

    Args:
        users: float ``[n_users, d]``.
        items: float ``[n_items, d]``.
        candidates: row numbers of the items that may be recommended, ascending.
    """

    splits = True

    def __init__(self, users: Tensor, items: Tensor, candidates: np.ndarray) -> None:
        self.items = torch.from_numpy(candidates).to(items.device)
        self._users, self._vectors = users, items[self.items]

    def of(self, users: Tensor, start: int, end: int) -> Tensor:
        """Return the scores of some of the items."""
        return self._users[users] @ self._vectors[start:end].T


class ModelScores:
    """What the model itself says: for scores that are no inner products.

    Args:
        scores_of: row numbers of users to the scores ``[b, n]`` of all items, padding first.
        candidates: row numbers of the items that may be recommended, ascending.
        device: where the model is.
    """

    splits = False

    def __init__(
        self, scores_of: Callable[[np.ndarray], Tensor], candidates: np.ndarray, device: Any
    ) -> None:
        self.items = torch.from_numpy(candidates).to(device)
        self._scores_of = scores_of

    @flushed_denormals()
    def of(self, users: Tensor, start: int, end: int) -> Tensor:
        """Return the scores of all the items."""
        rows = self._scores_of(users.cpu().numpy())
        return rows[:, 1:] if len(self.items) == rows.shape[1] - 1 else rows[:, self.items]


def mean_over_users(
    scores_of: Callable[[np.ndarray], Tensor], nearest: Tensor
) -> Callable[[np.ndarray], Tensor]:
    """Return what gives each new user the mean of the scores of users who are trained.

    Args:
        scores_of: as :class:`ModelScores` takes it.
        nearest: row numbers of the users that each new one is made of, ``[m, k]``.
    """
    rows = nearest.cpu().numpy()

    def mean(users: np.ndarray) -> Tensor:
        total = scores_of(rows[users - 1, 0])
        for column in range(1, rows.shape[1]):
            total = total + scores_of(rows[users - 1, column])
        return total / rows.shape[1]

    return mean


@torch.no_grad()
def best(
    scores: Scores, users: np.ndarray, k: int, hidden: UserItems | None, block_bytes: int
) -> Iterator[Ranked]:
    """Yield the ``k`` best items of each user, in blocks that keep within ``block_bytes``.

    Args:
        scores: of the items that may be recommended, at least ``k``.
        users: row numbers, int64.
        k: items per user.
        hidden: items of each user that are left out; None leaves none out.
        block_bytes: most memory for the scores of a block.
    """
    n_items = len(scores.items)
    fit = block_bytes // _FLOAT
    height = max(1, min(len(users), fit // n_items))
    width = n_items
    if scores.splits and height < min(len(users), _FEWEST_USERS):
        height = min(len(users), _FEWEST_USERS)
        width = max(k, fit // height)
    for first in range(0, len(users), height):
        block = users[first : first + height]
        values, columns = _best_of_block(scores, block, k, hidden, width)
        yield Ranked(block, scores.items[columns].cpu().numpy(), values.float().cpu().numpy())


def _best_of_block(
    scores: Scores, users: np.ndarray, k: int, hidden: UserItems | None, width: int
) -> tuple[Tensor, Tensor]:
    device, n_items = scores.items.device, len(scores.items)
    asked = torch.from_numpy(users).to(device)
    left_out = None
    if hidden is not None:
        rows, items = (part.to(device) for part in hidden.of(users))
        columns = torch.searchsorted(scores.items, items).clamp_(max=n_items - 1)
        there = scores.items[columns] == items
        left_out = rows[there], columns[there]
    return top_k_in_blocks(
        lambda start, end: scores.of(asked, start, end), n_items, k, width, left_out
    )

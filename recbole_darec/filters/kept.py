"""The standardised scores of a fitted filter, kept where those of all users fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_darec.filters.equations import mix_in_place, row_blocks, standardise_in_place
from recbole_darec.filters.fitted import FittedFilter

__all__ = ["KEPT_BYTES", "KeptScores"]

# A filter does not change while epochs are validated and weights w tried, nor between the
# validation and the test part: what it says of a user is made once.  512 MiB.
KEPT_BYTES = 1 << 29
_MADE_ELEMENTS = 1 << 22  # of users whose scores are made at a time; 16 MiB
_GPU_ELEMENTS = 1 << 27


class KeptScores:
    """z(F) of users, on one device.

    ``users x items`` float32 of up to :data:`KEPT_BYTES` are kept, each row once it was asked for;
    of more than that none is, and the rows of a batch are made a block at a time.

    Args:
        fitted: the filter.
        device: of the scores that it is mixed with.

    Attributes:
        fitted, device: as given.
    """

    def __init__(self, fitted: FittedFilter, device: torch.device) -> None:
        self.fitted, self.device = fitted, device
        n_users, n_items = fitted.n_users, fitted.n_items
        self._rows: Tensor | None = None
        if 4 * n_users * n_items <= KEPT_BYTES:
            self._rows = torch.empty(n_users, n_items, device=device)
        self._known = torch.zeros(n_users, dtype=torch.bool)
        gpu = device.type != "cpu"
        self._height = max(1, (_GPU_ELEMENTS if gpu else _MADE_ELEMENTS) // max(1, n_items))

    def mix_into(self, scores: Tensor, users: Tensor, weight: float) -> None:
        """Make ``(1 - w) z(scores) + w z(F)`` of scores, in their place.

        Args:
            scores: float ``[b, n_items]`` on the device.
            users: row numbers, int64 ``[b]``.
            weight: w.
        """
        users = users.cpu()
        if self._rows is not None:
            missing = users[~self._known[users]].unique()
            for made in missing.split(self._height):
                self._rows[made.to(self.device)] = self._made(made)
                self._known[made] = True
        for start in range(0, len(users), self._height):
            part = slice(start, start + self._height)
            chosen = users[part].to(self.device)
            made = None if self._rows is not None else self._made(users[part])
            for rows in self._blocks(*scores[part].shape):
                others = self._rows[chosen[rows]] if made is None else made[rows]
                mix_in_place(scores[part][rows], others, weight)

    def _made(self, users: Tensor) -> Tensor:
        """Return z(F) of some users, ``[b, n_items]``."""
        found = self.fitted.on(self.device).scores(users.numpy())
        for rows in self._blocks(*found.shape):
            standardise_in_place(found[rows])
        return found

    def _blocks(self, n_rows: int, n_columns: int) -> Any:
        """Return slices of rows that stay in a core's cache; of a GPU all at once."""
        return row_blocks(n_rows, n_columns) if self.device.type == "cpu" else [slice(0, n_rows)]

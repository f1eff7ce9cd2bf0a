"""The standardised scores of a fitted filter, kept where those of all users fit."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.filters.equations import mix_in_place, row_blocks, standardise_in_place
from recbole_darec.filters.fitted import FittedFilter

__all__ = ["KEPT_BYTES", "KeptScores"]

# A filter does not change while epochs are validated and weights w tried, nor between the
# validation and the test part: what it says of a user is made once.  512 MiB.
KEPT_BYTES = 1 << 29


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
        self._products = fitted.on(device)
        # Memory that is taken anew for each block costs more than what is written to it.
        self._made = torch.empty(min(self._products.height, n_users), n_items, device=device)

    def mix_into(self, scores: Tensor, users: Tensor, weight: float) -> None:
        """Make ``(1 - w) z(scores) + w z(F)`` of scores, in their place.

        Args:
            scores: float ``[b, n_items]`` on the device.
            users: row numbers, int64 ``[b]``.
            weight: w.
        """
        users, height = users.cpu(), len(self._made)
        if self._rows is not None:
            missing = torch.unique(users[~self._known[users]])
            for block in missing.split(height):
                self._rows[block.to(self.device)] = self._make(block)
                self._known[block] = True
        for start in range(0, len(users), height):
            part, asked = scores[start : start + height], users[start : start + height]
            table, at = (
                (self._rows, asked.to(self.device))
                if self._rows is not None
                else (self._make(asked), torch.arange(len(asked), device=self.device))
            )
            for rows in row_blocks(len(part), part.shape[1], self.device):
                mix_in_place(part[rows], table[at[rows]], weight)

    def _make(self, users: Tensor) -> Tensor:
        """Return z(F) of some users, ``[b, n_items]``, until it is asked again."""
        found = self._products.scores(users.numpy(), self._made[: len(users)])
        for rows in row_blocks(len(found), found.shape[1], self.device):
            standardise_in_place(found[rows])
        return found

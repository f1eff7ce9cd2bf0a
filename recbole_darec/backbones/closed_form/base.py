"""The base of general models that are computed from interactions and profiles, without epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType
from torch import Tensor, nn

__all__ = ["ClosedFormRecommender"]


class ClosedFormRecommender(GeneralRecommender):  # type: ignore[misc]
    """Ranks by :meth:`scores_of` users; what that needs is made when it is first asked.

    Attributes:
        reads_profiles: said to whoever makes the model: it is handed the profile rows.
        interactions: the training part, scipy CSR ``[n_users, n_items]``, binary, float32.
        user_profiles, item_profiles: float ``[n, w]`` on the CPU; a zero row is no profile.
    """

    input_type = InputType.POINTWISE
    type = ModelType.TRADITIONAL
    reads_profiles: ClassVar[bool] = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        # RecBole's trainer wants a parameter and a loss.
        self.nothing = nn.Parameter(torch.zeros(1))
        pairs = dataset.inter_matrix(form="csr")[1:, 1:]  # without the padding
        self.interactions = pairs.astype(bool).astype(np.float32)

    def take_profiles(self, rows: Tensor, kinds: Mapping[str, slice]) -> None:
        """Take the frozen profile embeddings.

        Args:
            rows: float ``[n_users + n_items, w]``.
            kinds: which rows are users' and which are items'.

        Raises:
            OptionError: the options ask for what the data do not have.
        """
        self.user_profiles, self.item_profiles = rows[kinds["user"]], rows[kinds["item"]]
        self.check()

    def check(self) -> None:
        """Refuse options that the data do not go with, before anything is computed.

        Raises:
            OptionError: in one line, with the way out.
        """

    def scores_of(self, users: np.ndarray) -> np.ndarray | Tensor:
        """Return the scores of all items, float ``[b, n_items]``, without a padding column.

        An array, or a tensor on any device.

        Args:
            users: row numbers, int64 ``[b]``.
        """
        raise NotImplementedError

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return zero: there is nothing to train."""
        return (0.0 * self.nothing).sum()

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores of all items, the padding first, float32 ``[b * (n_items + 1)]``."""
        users = interaction[self.USER_ID]
        found = torch.as_tensor(self.scores_of(users.cpu().numpy() - 1))
        found = found.to(users.device, torch.float32)
        return torch.cat([found.new_zeros(len(found), 1), found], dim=1).view(-1)

    def predict(self, interaction: Any) -> Tensor:
        """Return the scores of pairs, float32 ``[b]``."""
        users, place = torch.unique(interaction[self.USER_ID], return_inverse=True)
        rows = self.full_sort_predict({self.USER_ID: users}).view(len(users), -1)
        return rows[place, interaction[self.ITEM_ID]]

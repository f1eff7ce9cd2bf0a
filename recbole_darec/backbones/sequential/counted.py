"""The base of sequential models that count the training part and train nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from scipy.sparse import csr_matrix
from torch import Tensor, nn

__all__ = ["CountedRecommender"]


class CountedRecommender(SequentialRecommender):  # type: ignore[misc]
    """Ranks by :meth:`scores_of` a batch; the more popular item comes first where these are equal.

    Attributes:
        counts_alone: said to whoever would train the model: there is nothing to train.
        smallest_gap: what two scores that differ are apart at least.
        popularity: share of each item in training, below 1, float64 ``[n_items]``.
    """

    counts_alone: ClassVar[bool] = True
    smallest_gap: ClassVar[float] = 1.0

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        # RecBole's trainer wants a parameter and a loss.
        self.nothing = nn.Parameter(torch.zeros(1))
        users, items = (
            dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field)
        )
        self.n_users = int(dataset.user_num)
        counts = np.bincount(items, minlength=self.n_items)
        share = torch.from_numpy(counts / (counts.sum() + 1.0))
        self.register_buffer("popularity", share, persistent=False)
        self.count(users, items)

    def count(self, users: np.ndarray, items: np.ndarray) -> None:
        """Count what the model ranks by.

        Args:
            users, items: the training part by user and time, int64 ``[n]``.
        """

    def scores_of(self, sequences: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
        """Return whole or wide-apart scores, float64 ``[b, n_items]``; None for popularity alone.

        Args:
            sequences: int64 ``[b, L]``, zeros behind their ends.
            lengths: int64 ``[b]``.
        """
        return None

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return zero: there is nothing to train."""
        return (0.0 * self.nothing).sum()

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores of all items, float64 ``[b, n_items]``."""
        sequences, lengths = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        found = self.scores_of(sequences.cpu().numpy(), lengths.cpu().numpy())
        shares: Tensor = self.popularity
        if found is None:
            return shares.repeat(len(sequences), 1)
        return torch.from_numpy(found).to(shares.device) + self.smallest_gap * shares

    def predict(self, interaction: Any) -> Tensor:
        """Return the scores of pairs, float64 ``[b]``."""
        every = self.full_sort_predict(interaction)
        return every.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    def matrix(self, rows: np.ndarray, columns: np.ndarray) -> csr_matrix:
        """Return how often each pair of items occurs, float64 ``[n_items, n_items]``."""
        ones = np.ones(len(rows))
        return csr_matrix((ones, (rows, columns)), shape=(self.n_items, self.n_items))

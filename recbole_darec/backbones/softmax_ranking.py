"""A ranking loss over many items: the softmax of a target among all of them, or among a sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recbole_darec.numerics import log_sum_exp

if TYPE_CHECKING:
    from recbole_darec.backbones.graph_recommender import GraphRecommender as _Graph
else:
    _Graph = object  # the graph backbone stands beside the mixin in a class's bases

__all__ = ["SoftmaxRanking", "softmax_over_all", "softmax_over_sample"]


def softmax_over_all(users: Tensor, positives: Tensor, items: Tensor, tau: float) -> Tensor:
    """Return the mean of ``-log(exp(u·p / τ) / Σ_i exp(u·i / τ))``, a scalar, in blocks.

    Args:
        users: float ``[b, d]``.
        positives: each user's target, float ``[b, d]``; a row of ``items``.
        items: float ``[n, d]``.
        tau: τ.
    """
    scaled = users / tau
    near = (scaled * positives).sum()
    return (log_sum_exp(scaled, items) - near) / len(users)


def softmax_over_sample(
    users: Tensor, positives: Tensor, sample: Tensor, n_items: int, tau: float
) -> Tensor:
    """Return the same with the other items estimated by a uniform sample of them.

    Args:
        users: float ``[b, d]``.
        positives: float ``[b, d]``.
        sample: the rows of the drawn items, float ``[s, d]``; each stands for ``(n - 1) / s``.
        n_items: n.
        tau: τ.
    """
    scaled = users / tau
    drawn = scaled @ sample.T + math.log((n_items - 1) / len(sample))
    near = (scaled * positives).sum(1, keepdim=True)
    target = torch.zeros(len(users), dtype=torch.int64, device=users.device)
    return cross_entropy(torch.cat([near, drawn], dim=1), target)


class SoftmaxRanking(_Graph):
    """Mixin over a graph backbone whose options are :class:`RankLossOptions` too."""

    def ranking_loss(self, users: Tensor, items: Tensor, interaction: Any) -> Tensor:
        """Return the loss that ``rank_loss`` names, the batch's mean, a scalar.

        Args:
            users: float ``[n_users, d]``, the final embeddings.
            items: float ``[n_items, d]``, the padding first.
            interaction: the batch; a softmax reads no negative items of it.
        """
        options = self.options
        if options.rank_loss == "bpr":
            return super().ranking_loss(users, items, interaction)
        user = users[interaction[self.USER_ID]]
        positive = items[interaction[self.ITEM_ID]]
        n_items = len(items) - 1
        if options.softmax_items == "all":
            return softmax_over_all(user, positive, items[1:], options.softmax_tau)
        drawn = torch.randint(1, n_items + 1, (options.softmax_items,), device=items.device)
        return softmax_over_sample(user, positive, items[drawn], n_items, options.softmax_tau)

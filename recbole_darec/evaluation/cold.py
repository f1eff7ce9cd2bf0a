"""All-rank metrics over chosen candidates, such as items that were held out of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.numerics.topk import top_k
from recbole_darec.recbole_compat.best_items import hits
from recbole_darec.recbole_compat.metrics import MetricEvaluator

__all__ = ["list_metrics"]


@torch.no_grad()
def list_metrics(
    config: Any,
    scores_of: Callable[[np.ndarray], Tensor],
    positive: UserItems,
    hidden: UserItems | None,
    candidates: Tensor,
    batch_users: int,
) -> dict[str, float]:
    """Return the run's metrics that read the lists alone (Recall, NDCG, MRR, ...), unrounded.

    Args:
        config: RecBole's configuration, which says which metrics and how long a list.
        scores_of: row numbers of users to the scores ``[b, n]`` of all there is to rank.
        positive: the items to be found; users without one are not ranked.
        hidden: items of each user that are left out.
        candidates: what may be listed, bool ``[n]``.
        batch_users: users ranked at a time.
    """
    k = max(config["topk"])
    users, found = positive.users(), []
    for start in range(0, len(users), batch_users):
        block = users[start : start + batch_users]
        scores = scores_of(block)
        scores = scores.masked_fill(~candidates.to(scores.device), -torch.inf)
        if hidden is not None:
            scores[tuple(part.to(scores.device) for part in hidden.of(block))] = -torch.inf
        _, listed = top_k(scores, k)
        found.append(hits(listed, scores.shape[1], *positive.of(block)).cpu())
    return MetricEvaluator(config).of_lists(torch.cat(found))

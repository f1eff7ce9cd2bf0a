"""Items by how often they were taken: PAD's buckets, of its equation (11)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["frequency_buckets"]


def frequency_buckets(counts: Tensor, n_buckets: int) -> Tensor:
    """Return each item's bucket, int64 (N,): 1 holds the most frequent, ``n_buckets`` the rarest.

    The buckets have the same total count, as far as whole items allow; an item belongs to that
    in which the middle of its own count falls.  What was never counted is in the last one.  Items
    of one count stay in their order.

    Args:
        counts: how often each item was taken, int64 (N,).
        n_buckets: at least 1.
    """
    order = torch.argsort(counts, descending=True, stable=True)
    sorted_counts = counts[order].long()
    total = int(sorted_counts.sum())
    buckets = torch.full_like(counts, n_buckets, dtype=torch.int64)
    if total:
        middle = 2 * sorted_counts.cumsum(0) - sorted_counts  # twice, to stay among integers
        found = middle * n_buckets // (2 * total) + 1
        buckets[order] = torch.where(sorted_counts > 0, found.clamp(max=n_buckets), n_buckets)
    return buckets

"""Equations (9) and (10): matched preference centers agree, the others keep apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast, unit_rows

from .matching import center_distances

__all__ = ["center_similarity", "local_structure", "matched_structure"]


def center_similarity(centers_c: Tensor, centers_l: Tensor) -> Tensor:
    """Cosine of each CF center with each LLM center, equation (9).

    The paper prints C_L twice in the numerator; the lengths in the denominator and the text
    ("between different preference centers in collaborative models and LLMs") say that
    S_ij = cos(C_C^i, C_L^j) is meant.

    Args:
        centers_c: C_C in matched order, shape (K, d).
        centers_l: C_L in matched order, shape (K, d).

    Returns:
        shape (K, K), in float32 for half-precision input.  A zero center has cosine 0 with every
        other, and gets no gradient.
    """
    unit_c, unit_l = unit_rows(centers_c), unit_rows(centers_l)
    with no_autocast(unit_c):
        return unit_c @ unit_l.t()


def local_structure(similarity: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of (S_ii - 1)² plus mean over i ≠ j of S_ij², equation (10).

    Args:
        similarity: S, shape (K, K): row i and column i are a matched pair of centers.
        mask: which entries count, for clusters that are empty; boolean, shape (K, K), or shape
            (K,) for "pair i is whole", which stands for ``mask[:, None] & mask[None, :]``.

    Returns:
        a scalar in [0, 5].  A mean over nothing is 0: K = 1 leaves the first term alone, and a
        mask that is false everywhere gives 0, with zero gradient.
    """
    k = similarity.shape[0]
    same = torch.eye(k, dtype=torch.bool, device=similarity.device)
    deviation = similarity - same.to(similarity.dtype)
    if mask is None:
        mask = torch.ones_like(same)
    elif mask.dim() == 1:
        mask = mask.unsqueeze(1) & mask.unsqueeze(0)
    counts = mask.to(similarity.dtype)
    n_same = counts.diagonal().sum()
    n_alike = torch.where(same, n_same, counts.sum() - n_same).clamp_min(1.0)
    return (deviation.square() / n_alike).masked_fill(~mask, 0.0).sum()


def matched_structure(
    of_c: tuple[Tensor, Tensor],
    of_l: tuple[Tensor, Tensor],
    match: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """Return equations (7) to (10): :func:`local_structure` of centers that are matched here.

    A cluster without rows has no center: it takes no living one's partner, and counts for nothing.

    Args:
        of_c: C_C and how many rows each center has, shapes (K, d) and (K,).
        of_l: the same of C_L.
        match: ``greedy_matching`` or ``hungarian_matching``.

    Returns:
        a scalar in [0, 5].
    """
    (centers_c, counts_c), (centers_l, counts_l) = of_c, of_l
    inhabited_c, inhabited_l = counts_c > 0, counts_l > 0
    with torch.no_grad():
        empty = ~(inhabited_c.unsqueeze(1) & inhabited_l.unsqueeze(0))
        distances = center_distances(centers_c, centers_l).masked_fill(empty, torch.inf)
        order_c, order_l = match(distances)
    similarity = center_similarity(centers_c[order_c], centers_l[order_l])
    return local_structure(similarity, mask=inhabited_c[order_c] & inhabited_l[order_l])

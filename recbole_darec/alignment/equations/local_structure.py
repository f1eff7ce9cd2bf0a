"""Equations (9) and (10): matched preference centers agree, the others keep apart."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast, unit_rows

__all__ = ["center_similarity", "local_structure"]


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

"""The contrast of two views of the nodes, as SGL and SimGCL have it."""

from __future__ import annotations

from torch import Tensor

from recbole_darec.numerics import distinct_with_weights, info_nce, unique_with_counts

__all__ = [
    "contrast_rows_with_all",
    "contrast_within_batch",
]


def contrast_rows_with_all(
    first: Tensor, second: Tensor, ids: Tensor, temperature: float
) -> Tensor:
    """Sum over a batch of InfoNCE of two views, with the whole second view as the denominator.

    SGL, equation (10) (Wu et al., SIGIR 2021, section 3.2), over the batch's rows: an id that
    stands ``n`` times counts ``n`` times, as in RecBole and RLMRec.

    Args:
        first: float ``[n, d]``, the nodes of one kind in the first view.
        second: float ``[n, d]``, the same in the second view; the denominator.
        ids: int ``[batch]``, rows of both.
        temperature: τ, above 0.

    Returns:
        a scalar.
    """
    rows, counts = unique_with_counts(ids)
    return info_nce(first[rows], second[rows], second, temperature, weights=counts)


def contrast_within_batch(first: Tensor, second: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Mean over a batch's distinct ids of InfoNCE of two views, among these ids.

    SimGCL, equation (3) (Yu et al., SIGIR 2022, section 2.1).

    Args:
        first: float ``[n, d]``, the nodes of one kind in the first view.
        second: float ``[n, d]``, the same in the second view.
        ids: int ``[batch]``, rows of both.
        temperature: τ, above 0.

    Returns:
        a scalar, 0 for an empty batch.
    """
    if not len(ids):
        return first.sum() * 0.0
    rows, weights, number = distinct_with_weights(ids, len(first))
    others = second[rows]
    total = info_nce(
        first[rows], others, others, temperature, weights=weights, candidate_weights=weights
    )
    return total / number

"""Equation (11): what the four terms add to the backbone's loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

__all__ = ["weighted_terms"]


def weighted_terms(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], lam: float
) -> dict[str, Tensor]:
    """Each term times its weight and λ; equation (11) is the backbone's loss plus their sum.

    The terms stay apart, so that a trainer can log each by name.

    Args:
        terms: the alignment losses by name, scalars.
        weights: a factor by name, 1 for a name that is absent, as in the paper.  Names without a
            term are ignored.
        lam: λ.

    Returns:
        scalars by name.  A term whose factor is 0 is left out, so that nothing that happens to it
        (NaN included) reaches the sum or a gradient.
    """
    factors = {name: lam * weights.get(name, 1.0) for name in terms}
    return {name: factors[name] * term for name, term in terms.items() if factors[name] != 0.0}

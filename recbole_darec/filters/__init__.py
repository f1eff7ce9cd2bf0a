"""Training-free models of co-occurrence and text: the text filter, and EASE with a text prior.

This package knows sparse matrices, tensors and :mod:`recbole_darec.numerics`; it knows no RecBole,
no file, and neither backbones nor aligners, which both use it.
"""

from __future__ import annotations

from recbole_darec.filters.fitted import FilterInputs, FilterWeights, FittedFilter
from recbole_darec.filters.tuning import tuned_weights

__all__ = ["FilterInputs", "FilterWeights", "FittedFilter", "tuned_weights"]

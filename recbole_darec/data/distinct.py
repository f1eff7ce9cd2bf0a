"""The distinct ones of many whole numbers, by sorting."""

from __future__ import annotations

import numpy as np

__all__ = ["contained", "sorted_distinct", "united"]


def sorted_distinct(values: np.ndarray) -> np.ndarray:
    """Return what ``np.unique`` returns of whole numbers ``[n]``; ``values`` stays as it is.

    NumPy hashes them since 2.3, which is slow where nearly all are distinct.
    """
    return _first_ones(np.sort(values, axis=None))


def united(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distinct numbers of two sorted arrays, sorted."""
    # Of two sorted runs the stable sort is one pass that merges them.
    return _first_ones(np.sort(np.concatenate([keys, others]), kind="stable"))


def contained(wanted: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Tell which of some numbers ``[n]`` are among ``keys``, sorted ``[m]``; bool ``[n]``."""
    if not len(keys):
        return np.zeros(len(wanted), bool)
    places = np.searchsorted(keys, wanted)
    np.minimum(places, len(keys) - 1, out=places)
    found: np.ndarray = keys[places] == wanted
    return found


def _first_ones(ordered: np.ndarray) -> np.ndarray:
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered if first.all() else ordered[first]

"""Sorted whole numbers, against NumPy's own sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data.distinct import contained, sorted_distinct, united

NUMBERS = st.lists(st.integers(-3, 12), max_size=30).map(lambda found: np.array(found, np.int64))


@given(NUMBERS, NUMBERS)
def test_are_numpys_sets(one: np.ndarray, other: np.ndarray) -> None:
    before = one.copy()
    keys, others = sorted_distinct(one), sorted_distinct(other)
    np.testing.assert_array_equal(one, before)
    np.testing.assert_array_equal(keys, np.unique(one))
    np.testing.assert_array_equal(united(keys, others), np.union1d(one, other))
    np.testing.assert_array_equal(contained(one, others), np.isin(one, other))

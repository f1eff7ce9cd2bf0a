"""The place of an item in a sequence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.numerics import last_places


@given(st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=1, max_size=8))
def test_the_place_of_an_item_is_the_last_one(lists: list[list[int]]) -> None:
    users = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    items = np.array([item for one in lists for item in one], dtype=np.int64)
    found = last_places(users, items, (len(lists), 9))
    assert found.shape == (len(lists), 9)
    for user, taken in enumerate(lists):
        expected = {item: place for place, item in enumerate(taken, 1)}
        row = found[user]
        assert dict(zip(row.indices.tolist(), row.data.tolist())) == expected
        assert row.indices.tolist() == sorted(expected)

"""Order, leave-one-out and windows, against loops over each user's list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data.sequences import Sequences, Windows, leave_one_out, time_order
from recbole_darec.errors import DataError

LISTS = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=8)


def made(lists: list[list[int]]) -> Sequences:
    users = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    items = np.array([item for one in lists for item in one], dtype=np.int64)
    return Sequences(users, items, len(lists))


def read(found: Sequences, windows: Windows) -> list[tuple[list[int], int]]:
    """Each window with the item behind it."""
    items = found.items.tolist()
    return [
        (items[b : b + c], items[b + c])
        for b, c in zip(windows.begin.tolist(), windows.count.tolist())
    ]


@given(LISTS, st.integers(1, 5))
def test_prefixes_are_what_stands_before_each_item(lists: list[list[int]], longest: int) -> None:
    found = made(lists)
    expected = [
        (one[max(0, end - longest) : end], one[end]) for one in lists for end in range(1, len(one))
    ]
    assert read(found, found.prefixes(longest)) == expected


@given(LISTS, st.integers(1, 5))
def test_stretches_have_each_item_but_the_first_as_a_target_once(
    lists: list[list[int]], longest: int
) -> None:
    found = made(lists)
    windows = found.stretches(longest)
    targets: list[int] = []
    for begin, count in zip(windows.begin, windows.count):
        assert 1 <= count <= longest
        targets += range(begin + 1, begin + count + 1)
    starts = [int(s) for s, n in zip(found.starts, found.lengths) if n]
    assert sorted(targets) == sorted(set(range(len(found.items))) - set(starts))
    # A user's latest window is as long as it can be.
    last = {int(b + c): int(c) for b, c in zip(windows.begin, windows.count)}
    for start, length in zip(found.starts, found.lengths):
        if length > 1:
            assert last[int(start + length) - 1] == min(longest, length - 1)


@given(LISTS)
def test_leave_one_out_holds_out_the_last_two_of_who_has_three(lists: list[list[int]]) -> None:
    users = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    expected: list[int] = []
    for one in lists:
        expected += [0] * (len(one) - 2) + [1, 2] if len(one) >= 3 else [0] * len(one)
    if 2 not in expected:
        with pytest.raises(DataError, match="no user has three interactions"):
            leave_one_out(users)
        return
    labels, short = leave_one_out(users)
    assert labels.tolist() == expected
    assert short == sum(0 < len(one) < 3 for one in lists)


def test_times_a_second_apart_are_told_apart_and_ties_stay_as_they_are() -> None:
    base = 893_286_638.0
    assert np.float32(base) == np.float32(base + 30)  # what RecBole sorts by
    users = np.array([1, 0, 0, 0, 1])
    times = np.array([base + 30, base + 2, base + 1, base + 2, base])
    assert time_order(users, times).tolist() == [2, 1, 3, 4, 0]


def test_ten_million_interactions_take_little_more_than_their_ids() -> None:
    """A tenth of them: what is held per interaction does not depend on how many there are."""
    n = 1_000_000
    users = np.sort(np.random.RandomState(0).randint(1, 100_000, n))
    items = np.random.RandomState(1).randint(1, 50_000, n)
    found = Sequences(users, items, 100_000)
    held = found.items.nbytes + found.starts.nbytes
    for windows in (found.prefixes(20), found.stretches(20)):
        held += windows.begin.nbytes + windows.count.nbytes
    assert held < users.nbytes + items.nbytes + 10 * 100_000

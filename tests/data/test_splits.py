from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data.splits import Split, held_out, parse_ratios, part_sizes, ratio_split
from recbole_darec.errors import DataError

RATIOS = st.sampled_from([(3, 1, 1), (0.8, 0.1, 0.1), (8, 1, 1), (1, 1, 1), (1, 5, 4), (4, 1)])
USERS = st.lists(st.integers(0, 12), max_size=120).map(np.array)


@pytest.mark.parametrize(
    "ratios", [(3, 1, 1), (0.8, 0.1, 0.1), (1, 1, 1), (1, 5, 4), (7, 3), (1, 1, 1, 1)]
)
def test_sizes_are_recboles(ratios):
    from recbole.data.dataset.dataset import Dataset

    totals = np.arange(1, 300)
    share = [ratio / sum(ratios) for ratio in ratios]
    expected = []
    for total in totals:
        ends = Dataset._calcu_split_ids(None, tot=int(total), ratios=share)
        expected.append(np.diff([0, *ends, total]))
    np.testing.assert_array_equal(part_sizes(totals, ratios), expected)


def test_sizes_by_hand():
    found = part_sizes(np.array([1, 2, 3, 4, 5, 9, 10]), (3, 1, 1)).tolist()
    expected = [[1, 0, 0], [1, 0, 1], [1, 1, 1], [2, 1, 1], [3, 1, 1], [7, 1, 1], [6, 2, 2]]
    assert found == expected


@given(users=USERS, ratios=RATIOS, seed=st.integers(0, 2**32 - 1))
def test_each_user_is_split_by_the_ratios(users, ratios, seed):
    labels = ratio_split(users, len(users), ratios, seed)
    assert labels.dtype == np.uint8
    assert labels.shape == (len(users),)
    for user in set(users.tolist()):
        mine = labels[users == user]
        counts = np.bincount(mine, minlength=len(ratios))
        np.testing.assert_array_equal(counts, part_sizes(np.array([len(mine)]), ratios)[0])
        assert counts[0] >= 1
    np.testing.assert_array_equal(labels, ratio_split(users, len(users), ratios, seed))


@given(users=USERS, seed=st.integers(0, 100))
def test_names_of_users_do_not_matter(users, seed):
    """Only which rows belong together, and the users' order, decide."""
    renamed = np.array([f"u{user:03d}" for user in users], dtype=object)
    np.testing.assert_array_equal(
        ratio_split(users, len(users), seed=seed), ratio_split(renamed, len(users), seed=seed)
    )


def test_without_groups_all_rows_are_one():
    labels = ratio_split(None, 1000, (3, 1, 1), 1)
    assert np.bincount(labels).tolist() == [600, 200, 200]
    assert (labels != ratio_split(None, 1000, (3, 1, 1), 2)).any()


@given(users=USERS, seed=st.integers(0, 100))
def test_the_order_is_that_of_a_naive_loop(users, seed):
    keys = np.random.RandomState(seed).random_sample(len(users))
    expected = np.zeros(len(users), dtype=int)
    for user in set(users.tolist()):
        rows = sorted(np.flatnonzero(users == user), key=lambda row: keys[row])
        train, valid, _ = part_sizes(np.array([len(rows)]), (3, 1, 1))[0]
        for place, row in enumerate(rows):
            expected[row] = int(place >= train) + int(place >= train + valid)
    np.testing.assert_array_equal(ratio_split(users, len(users), (3, 1, 1), seed), expected)


def test_the_split_of_a_seed_is_frozen():
    """Published splits must come back under every version of NumPy."""
    labels = ratio_split(np.repeat([0, 1], 5), 10, (3, 1, 1), 2020)
    assert labels.tolist() == [2, 1, 0, 0, 0, 0, 0, 1, 2, 0]


def test_every_row_is_as_likely_in_each_part():
    counts = np.zeros(5)
    for seed in range(600):
        counts += ratio_split(None, 5, (3, 1, 1), seed) == 2
    # binomial(600, 1/5): 120 ± 9.8; six standard deviations
    assert (abs(counts - 120) < 60).all()


def test_bad_input():
    with pytest.raises(DataError, match="2 groups for 3 rows"):
        ratio_split(np.array([0, 1]), 3)
    for ratios in [(0, 1, 1), (1, -1, 1), (1, float("nan"), 1), (), (1, float("inf"))]:
        with pytest.raises(DataError, match="positive numbers"):
            ratio_split(None, 3, ratios)
    assert parse_ratios("3:1:1") == (3, 1, 1)
    assert parse_ratios("0.8:0.1:0.1") == (0.8, 0.1, 0.1)
    for text in ["3:1", "3:1:1:1", "3:0:1", "3:-1:1", "a:b:c", "", "3;1;1", "nan:1:1", "inf:1:1"]:
        with pytest.raises(DataError, match="three positive numbers"):
            parse_ratios(text)


@given(
    users=USERS,
    ratios=st.sampled_from([(3.0, 1.0, 1.0), (0.8, 0.1, 0.1)]),
    group_by=st.sampled_from(["user", "none"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_comes_back_from_its_note_and_draws_the_same_parts(users, ratios, group_by, seed):
    split = Split(ratios, group_by, seed, len(users))
    again = Split.from_note(json.loads(json.dumps(split.note())))
    assert again == split
    assert again.note() == split.note()
    groups = users if group_by == "user" else None
    expected = ratio_split(groups, len(users), ratios, seed)
    np.testing.assert_array_equal(again.parts(users), expected)


def test_splits_are_equal_where_the_parts_are():
    split = Split((3.0, 1.0, 1.0), "user", 2020, 100)
    assert split == Split((0.6, 0.2, 0.2), "user", 2020, 100)
    assert hash(split) == hash(Split((0.6, 0.2, 0.2), "user", 2020, 100))
    others = [
        Split((8.0, 1.0, 1.0), "user", 2020, 100),
        Split((3.0, 1.0, 1.0), "none", 2020, 100),
        Split((3.0, 1.0, 1.0), "user", 2021, 100),
        Split((3.0, 1.0, 1.0), "user", 2020, 101),
        None,
    ]
    assert all(split != other for other in others)
    assert str(split) == "3:1:1 by user, split_seed 2020, of 100 interactions"


def test_only_three_ratios_are_a_split():
    def of(eval_args):
        return Split.from_eval_args(eval_args, seed=1, interactions=9)

    assert of({"split": {"RS": [3, 1, 1]}, "group_by": None}) == Split((3, 1, 1), "none", 1, 9)
    assert of({"split": {"RS": [3, 1, 1]}}) == Split((3, 1, 1), "user", 1, 9)
    for eval_args in ({}, {"split": None}, {"split": {"RS": [4, 1]}}, {"split": {"LS": "all"}}):
        assert of(eval_args) is None


@given(
    tokens=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60).map(np.array),
    share=st.sampled_from([0.0, 0.1, 0.3, 0.5]),
    seed=st.integers(0, 1000),
)
def test_held_out_tokens_are_held_out_whole(tokens, share, seed):
    distinct = sorted(set(tokens.tolist()))
    count = max(1, round(share * len(distinct))) if share else 0
    if count and count == len(distinct):
        with pytest.raises(DataError, match="leaves none"):
            held_out(tokens, share, seed)
        return
    out = held_out(tokens, share, seed)
    chosen = set(tokens[out].tolist())
    assert len(chosen) == count
    assert not chosen & set(tokens[~out].tolist())
    order = np.random.RandomState(0).permutation(len(tokens))
    np.testing.assert_array_equal(held_out(tokens[order], share, seed), out[order])

"""Which training items are held out, and what a search makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.filters.held_out import hold_out, hold_out_latest
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.tuning import tuned_weights
from recbole_darec.filters.weights import FilterWeights


def fixed_but(searched: str) -> dict[str, float]:
    """All weights but one, and no piece but co-occurrence."""
    return {**dict.fromkeys(set(vars(FilterWeights())) - {searched}, 0.0), "item_exponent": 0.3}


FIXED = fixed_but("popularity")


def likes(seed: int, users: int, items: int = 30) -> Any:
    return sp.csr_matrix((np.random.RandomState(seed).random_sample((users, items)) < 0.35) * 1.0)


def in_order(lists: list[list[int]], n_items: int) -> Any:
    """Places of the items in lists without repeats."""
    found = np.zeros((len(lists), n_items), dtype=np.float32)
    for user, items in enumerate(lists):
        found[user, items] = np.arange(1, len(items) + 1)
    return sp.csr_matrix(found)


@given(seed=st.integers(0, 500))
def test_a_fifth_of_each_users_items_is_held_out(seed: int) -> None:
    x = sp.csr_matrix(likes(seed, 20).toarray() * (np.arange(20)[:, None] != 3))
    kept, held = hold_out(x, seed)
    assert (kept + held != x).nnz == 0
    assert kept.multiply(held).nnz == 0
    for user in range(20):
        count = x[user].nnz
        assert held[user].nnz == (max(1, int(count * 0.2)) if count >= 3 else 0)
    again = hold_out(x, seed)
    assert (again[1] != held).nnz == 0


def test_nothing_can_be_held_out_of_users_with_two_items() -> None:
    two = sp.csr_matrix(np.eye(4) + np.eye(4, k=1))
    with pytest.raises(ValueError, match="no user has 3"):
        hold_out(two)
    with pytest.raises(ValueError, match="no user has 3"):
        hold_out_latest(two)
    with pytest.raises(ValueError, match="no user has 4"):
        hold_out_latest(in_order([[2, 0, 1]], 3), later=1)


@given(
    st.lists(st.lists(st.integers(0, 8), max_size=9, unique=True), max_size=6),
    st.integers(0, 3),
)
def test_what_is_held_out_by_order_is_found_from_what_was_before(
    lists: list[list[int]], later: int
) -> None:
    lists = [[4, 1, 7, 0, 8, 3], *lists]
    kept, held = hold_out_latest(in_order(lists, 9), later)
    for user, items in enumerate(lists):
        before, wanted = items, []
        if len(items) >= 3 + later:
            before, wanted = items[: -1 - later], [items[-1 - later]]
        assert sorted(kept[user].indices) == sorted(before)
        assert held[user].indices.tolist() == wanted
    assert set(kept.data) | set(held.data) == {1.0}


@pytest.mark.parametrize(("users", "drawn"), [(240, 5), (36_000, 1)])
def test_few_interactions_are_held_out_several_times(
    users: int, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def noted(interactions: object, seed: int) -> object:
        seeds.append(seed)
        return hold_out(interactions, seed)

    monkeypatch.setattr("recbole_darec.filters.tuning.hold_out", noted)
    many = sp.vstack([likes(6, 240, 12)] * (users // 240)).tocsr()
    tuned_weights(FilterInputs.of(many), FIXED, seed=7)
    assert seeds == [7 + n for n in range(drawn)]


@pytest.mark.parametrize(("users", "length", "drawn"), [(30, 9, 5), (30, 5, 3), (20_000, 9, 1)])
def test_where_order_counts_the_last_items_are_held_out_one_after_the_other(
    users: int, length: int, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(order: object, later: int) -> object:
        seen.append(later)
        return hold_out_latest(order, later)

    monkeypatch.setattr("recbole_darec.filters.tuning.hold_out_latest", noted)
    rng = np.random.RandomState(0)
    orders = [rng.permutation(12)[:length].tolist() for _ in range(30)]
    order = sp.vstack([in_order(orders, 12)] * (users // 30 + 1)).tocsr()[:users]
    tuned_weights(FilterInputs.of(order.sign(), order=order), FIXED)
    assert seen == list(range(drawn))


def test_weights_are_found_by_what_comes_next() -> None:
    # In the end everybody takes what is rare, and before that what is popular.
    rng = np.random.RandomState(2)
    lists = [
        [*rng.permutation(40)[:5].tolist(), *(40 + rng.permutation(120)[:5]).tolist()]
        for _ in range(400)
    ]
    rare_last, popular_last = (
        FilterInputs.of(order.sign(), order=order)
        for order in (in_order(lists, 160), in_order([items[::-1] for items in lists], 160))
    )
    assert (rare_last.interactions != popular_last.interactions).nnz == 0
    assert tuned_weights(rare_last, FIXED).popularity == 0.0
    assert tuned_weights(popular_last, FIXED).popularity > 0.0


def test_recency_is_found_where_the_last_item_tells_the_next() -> None:
    # Of two items that are taken together, one after the other, among many that tell nothing.
    rng = np.random.RandomState(3)
    lists = [
        [*rng.permutation(60)[:6].tolist(), *(60 + 2 * int(rng.randint(0, 40)) + np.arange(2))]
        for _ in range(600)
    ]
    order = in_order(lists, 140)
    with_pair_last, with_pair_first = (
        FilterInputs.of(one.sign(), order=one)
        for one in (order, in_order([items[::-1] for items in lists], 140))
    )
    found = tuned_weights(with_pair_last, {**fixed_but("recency"), "popularity": 0.0})
    assert found.recency > 0.0
    assert tuned_weights(with_pair_first, fixed_but("recency")).recency == 0.0
    unordered = FilterInputs.of(order.sign())
    assert tuned_weights(unordered, fixed_but("recency")).recency == 0.0

"""The text filter against its formulas in dense loops, and the choice of its weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.filters.equations import (
    mix_in_place,
    normalised_interactions,
    standardise_in_place,
    standardised,
)
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.held_out import hold_out
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.low_pass import LowPass, leading_right_vectors
from recbole_darec.filters.text_graph import TextGraph
from recbole_darec.filters.tuning import GRID, recall, tuned_weights
from recbole_darec.filters.weights import FilterWeights

from . import naive

USERS, ITEMS, WIDTH = 14, 11, 5


def planted(seed: int, users: int = USERS, items: int = ITEMS) -> np.ndarray:
    """A training matrix with an empty user and an empty item."""
    x = (np.random.RandomState(seed).random_sample((users, items)) < 0.35).astype(float)
    x[1] = 0
    x[:, 2] = 0
    return x


def profiles(seed: int, n: int, missing: tuple[int, ...] = ()) -> np.ndarray:
    rows = np.random.RandomState(seed).standard_normal((n, WIDTH)) + 0.5
    rows[list(missing)] = 0.0
    return rows


def fitted(
    x: np.ndarray,
    items: np.ndarray | None,
    users: np.ndarray | None,
    weights: FilterWeights,
    k: int = 3,
) -> FittedFilter:
    tensors = [None if rows is None else torch.from_numpy(rows).float() for rows in (items, users)]
    return FittedFilter(
        FilterInputs.of(sp.csr_matrix(x), *tensors, width=3, n_neighbours=k), weights
    )


WEIGHTS = st.builds(
    FilterWeights,
    two_hops=st.sampled_from([0.0, 0.5]),
    text=st.sampled_from([0.0, 0.3]),
    popularity=st.sampled_from([0.0, 0.2]),
    match=st.sampled_from([0.0, 0.2]),
    user_text=st.sampled_from([0.0, 0.25]),
    item_exponent=st.sampled_from([0.3, 0.5]),
    low_pass=st.sampled_from([0.0, 0.5]),
    low_pass_width=st.sampled_from([2.0, 4.0, 64.0]),
)


@settings(max_examples=60)
@given(
    weights=WEIGHTS,
    seed=st.integers(0, 1000),
    with_items=st.booleans(),
    with_users=st.booleans(),
    missing=st.booleans(),
)
def test_scores_are_the_formulas(
    weights: FilterWeights, seed: int, with_items: bool, with_users: bool, missing: bool
) -> None:
    x = planted(seed)
    items = profiles(seed + 1, ITEMS, (4,) if missing else ()) if with_items else None
    users = profiles(seed + 2, USERS, (0, 5) if missing else ()) if with_users else None
    found = fitted(x, items, users, weights).scores(np.arange(USERS))
    w = weights
    wanted = naive.scores(
        x, items, users, c=w.two_hops, t=w.text, p=w.popularity,
        h=w.match if with_items else 0.0, g=w.user_text, b=w.item_exponent, width=3, k=3,
        low=w.low_pass, low_width=int(w.low_pass_width),
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("width", [1, 4, 9, 64])
def test_the_low_pass_keeps_the_leading_directions(width: int) -> None:
    x = planted(2)
    found = LowPass(sp.csr_matrix(x), width).scores(np.array([3, 1, 7]))
    np.testing.assert_allclose(found, naive.low_pass(x, width)[[3, 1, 7]], rtol=1e-4, atol=1e-5)
    fewer = LowPass(sp.csr_matrix(x), 9).scores(np.array([3, 1, 7]), width)
    np.testing.assert_allclose(
        fewer, naive.low_pass(x, min(width, 9))[[3, 1, 7]], rtol=1e-4, atol=1e-5
    )


def test_of_a_large_matrix_the_leading_directions_are_those(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whole blocks: eight directions and nothing beside them, which random projections find, too.
    x = sp.csr_matrix((np.arange(90)[:, None] % 8 == np.arange(60) % 8).astype(np.float32))
    everyone = np.arange(90)
    monkeypatch.setattr("recbole_darec.filters.low_pass._EXACT", 10)
    found = LowPass(x, 8).scores(everyone)
    np.testing.assert_allclose(found, naive.low_pass(x.toarray(), 8), rtol=1e-4, atol=1e-5)
    noisy = sp.csr_matrix(np.maximum(x.toarray(), np.random.RandomState(3).rand(90, 60) < 0.02))
    again = LowPass(noisy, 8).scores(everyone)
    assert np.array_equal(LowPass(noisy, 8).scores(everyone), again), "the same each time"


@pytest.mark.parametrize("width", [1, 5, 10])
@pytest.mark.parametrize("kind", ["regular", "blocks", "matching", "same"])
def test_equal_singular_values_give_the_same_directions_each_time(kind: str, width: int) -> None:
    """Where they are not unique they are the same ones again, in this and in another process."""
    n = 60
    pairs = {
        "regular": [(u, (u + k) % n) for u in range(n) for k in (0, 1, 3, 7)],
        "blocks": [(5 * b + u, 4 * b + i) for b in range(10) for u in range(5) for i in range(4)],
        "matching": [(u, u) for u in range(n)],
        "same": [(u, i) for u in range(40) for i in (0, 1, 2, 3, 4, 5 + u % 30)],
    }[kind]
    x = np.zeros((n, n), np.float32)
    x[tuple(zip(*pairs))] = 1.0
    y = normalised_interactions(x, 0.5, 0.5)
    first = leading_right_vectors(y, width)
    leading_right_vectors(normalised_interactions(planted(2)), 4)
    np.testing.assert_array_equal(leading_right_vectors(y, width), first)
    kept = np.square(np.linalg.svd(y.toarray(), compute_uv=False)[:width]).sum()
    assert np.square(y @ first).sum() == pytest.approx(kept, rel=1e-6)


def test_weights_that_are_all_given_are_taken_as_they_are() -> None:
    given = dict.fromkeys(GRID, 0.25)
    items = torch.from_numpy(profiles(1, 6))
    two = FilterInputs.of(sp.csr_matrix(np.eye(6) + np.eye(6, k=1)), items, n_neighbours=3)
    found = tuned_weights(two, given)
    assert vars(found) == {**given, "user_text": 0.0, "recency": 0.0}, "no user profiles, no order"
    with pytest.raises(ValueError, match="no user has 3 training items"):
        tuned_weights(two, {"text": 0.25})


def test_tuning_takes_the_low_pass_where_few_directions_tell() -> None:
    # Blocks of items, each user in one: the leading directions are the blocks.
    x, _, _ = blocks(7)
    noise = (np.random.RandomState(8).random_sample(x.shape) < 0.03).astype(float)
    clean, noisy = (
        tuned_weights(FilterInputs.of(sp.csr_matrix(pairs)), {"low_pass_width": 8.0})
        for pairs in (x, np.maximum(x, noise))
    )
    assert clean.low_pass == 0.0, "co-occurrence finds clean blocks by itself"
    assert noisy.low_pass > 0.0


def test_users_come_in_the_asked_order_and_alone() -> None:
    weights = FilterWeights(two_hops=0.5, text=0.3, match=0.2, user_text=0.25)
    one = fitted(planted(3), profiles(4, ITEMS), profiles(5, USERS), weights)
    every = one.scores(np.arange(USERS))
    np.testing.assert_allclose(one.scores(np.array([7, 2])), every[[7, 2]], rtol=1e-5, atol=1e-6)


def test_weight_zero_of_text_is_the_filter_without_profiles() -> None:
    weights = FilterWeights(two_hops=0.5, text=0.4, match=0.2, user_text=0.25, popularity=0.2)
    x = planted(6)
    with_text = fitted(x, profiles(7, ITEMS), profiles(8, USERS), weights.without_text())
    alone = fitted(x, None, None, weights)
    rows = np.arange(USERS)
    np.testing.assert_allclose(with_text.scores(rows), alone.scores(rows), rtol=1e-5, atol=1e-6)


def test_the_text_graph_leaves_out_rows_without_a_profile() -> None:
    rows = torch.from_numpy(profiles(1, 9, (2, 6)))
    graph = TextGraph.of(rows, width=3, n_neighbours=2).matrix.toarray()
    np.testing.assert_allclose(graph, naive.graph(rows.numpy(), 3, 2), rtol=1e-4, atol=1e-5)
    assert not graph[[2, 6]].any()
    assert not graph[:, [2, 6]].any()
    assert not np.diag(graph).any()


def test_a_single_profile_has_no_neighbour() -> None:
    rows = torch.zeros(4, 3)
    rows[1] = 1.0
    assert TextGraph.of(rows).matrix.nnz == 0


def test_standardised_rows() -> None:
    scores = torch.randn(5, 40, dtype=torch.float64) * 3 + 7
    scores[2] = 4.0
    found = standardised(scores)
    assert torch.equal(found[2], torch.zeros(40, dtype=torch.float64))
    others = found[[0, 1, 3, 4]]
    torch.testing.assert_close(others.mean(1), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(others.std(1, correction=0), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_mixed_rows(weight: float) -> None:
    scores, others = torch.randn(2, 4, 30, dtype=torch.float64)
    scores[1], others[2] = 5.0, -1.0  # rows of equal scores say nothing
    wanted = (1 - weight) * standardised(scores) + weight * standardised(others)
    standardise_in_place(others)
    mix_in_place(scores, others, weight)
    torch.testing.assert_close(scores, wanted)


@pytest.mark.parametrize("search", ["cells", "exact", "auto"])
def test_neighbours_in_cells_make_the_same_graph(search: str) -> None:
    rows = torch.from_numpy(profiles(4, 40, (3,)))  # so few are one cell
    found = TextGraph.of(rows, width=3, n_neighbours=4, search=search).matrix.toarray()
    np.testing.assert_allclose(found, naive.graph(rows.numpy(), 3, 4), rtol=1e-4, atol=1e-5)


def test_pieces_without_a_weight_are_not_made() -> None:
    x, items, users = blocks(5)
    given = sp.csr_matrix(x), torch.from_numpy(items).float(), torch.from_numpy(users).float()
    bare = FilterInputs.of(*given, pieces=[])
    assert (bare.item_texts, bare.user_texts, bare.item_rows) == (None, None, None)
    some = FilterInputs.of(*given, pieces=["text"])
    assert some.item_texts is not None
    assert (some.user_texts, some.user_rows) == (None, None)


def test_recall_by_hand() -> None:
    scores = torch.tensor([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5]])
    known = sp.csr_matrix(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]))
    wanted = sp.csr_matrix(np.array([[0, 1, 0, 0, 1], [1, 0, 0, 1, 0]]))
    # First user: items 1 and 2 are on top, one of two found; second: 3 and 2, one of two.
    assert recall(scores, known, wanted, cut=2).tolist() == [0.5, 0.5]
    assert recall(scores, known, wanted, cut=4).tolist() == [1.0, 1.0]


def blocks(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users like items of their own block, seldom met; the profiles say the block."""
    rng = np.random.RandomState(seed)
    users, items, n_blocks = 240, 120, 8
    own = np.arange(users)[:, None] % n_blocks == np.arange(items) % n_blocks
    x = ((rng.random_sample((users, items)) < 0.25) & own).astype(float)
    mean = rng.standard_normal((n_blocks, WIDTH)) * 2
    rows = [
        mean[np.arange(n) % n_blocks] + 0.2 * rng.standard_normal((n, WIDTH))
        for n in (items, users)
    ]
    return x, rows[0], rows[1]


def test_tuning_takes_texts_that_tell_and_leaves_texts_that_do_not() -> None:
    x, items, users = blocks()
    rng = np.random.RandomState(1)

    def weights(item_rows: np.ndarray, user_rows: np.ndarray) -> FilterWeights:
        tensors = [torch.from_numpy(rows).float() for rows in (item_rows, user_rows)]
        inputs = FilterInputs.of(sp.csr_matrix(x), *tensors)
        return tuned_weights(inputs)

    telling = weights(items, users)
    assert telling.text or telling.match or telling.user_text
    random = weights(rng.standard_normal(items.shape), rng.standard_normal(users.shape))
    assert random.match < 0.3
    assert random.text <= 0.3


def test_fixed_weights_stay_and_tuning_repeats() -> None:
    x, items, users = blocks(3)
    inputs = FilterInputs.of(
        sp.csr_matrix(x), torch.from_numpy(items).float(), torch.from_numpy(users).float()
    )
    fixed = {"text": 0.7, "item_exponent": 0.45, "match": 0.05}
    found = tuned_weights(inputs, fixed)
    assert (found.text, found.item_exponent, found.match) == (0.7, 0.45, 0.05)
    assert tuned_weights(inputs, fixed) == found


def test_tuning_ranks_a_block_of_users_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, items, users = blocks(4)
    inputs = FilterInputs.of(
        sp.csr_matrix(x), torch.from_numpy(items).float(), torch.from_numpy(users).float()
    )
    wanted = tuned_weights(inputs)
    monkeypatch.setattr("recbole_darec.filters.tuning._RANKED_ELEMENTS", 37 * x.shape[1])
    assert tuned_weights(inputs) == wanted


def test_pieces_that_cannot_be_made_have_weight_zero() -> None:
    x, items, _ = blocks(2)
    found = tuned_weights(FilterInputs.of(sp.csr_matrix(x)))
    assert (found.text, found.match, found.user_text) == (0.0, 0.0, 0.0)
    only_items = FilterInputs.of(sp.csr_matrix(x), torch.from_numpy(items).float())
    assert tuned_weights(only_items).user_text == 0.0


@pytest.mark.parametrize("with_users", [False, True])
def test_a_mean_of_items_is_of_those_that_are_kept(with_users: bool) -> None:
    """Else what is held out would have a part in finding it."""
    x, items, users = blocks(8)
    users[:100] = 0.0  # no profile
    tensors = [torch.from_numpy(rows).float() for rows in (items, users)]
    given = tensors if with_users else tensors[:1]
    kept, _ = hold_out(sp.csr_matrix(x))
    found = FilterInputs.of(sp.csr_matrix(x), *given).trained_on(kept).user_rows
    wanted = FilterInputs.of(kept, *given).user_rows
    whole = FilterInputs.of(sp.csr_matrix(x), *given).user_rows
    assert found is not None
    torch.testing.assert_close(found, wanted)
    assert not torch.equal(found, whole)

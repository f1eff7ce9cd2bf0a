"""The best items block by block, against a sort of all scores."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.serving.scores import VectorScores, best


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**16),
    n_users=st.integers(1, 150),
    n_items=st.integers(3, 400),
    k=st.integers(1, 6),
    block_bytes=st.sampled_from([4, 400, 4 * 70 * 65, 1 << 30]),
    share=st.sampled_from([0.02, 0.5, 1.0]),
    hide=st.booleans(),
)
def test_any_blocks_give_the_k_best_that_are_left(
    seed: int, n_users: int, n_items: int, k: int, block_bytes: int, share: float, hide: bool
) -> None:
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(n_users + 1, 4)), rng.normal(size=(n_items + 1, 4))
    candidates = 1 + np.flatnonzero(rng.random(n_items) < share)
    if len(candidates) < k:
        candidates = np.arange(1, n_items + 1)
    k = min(k, len(candidates))
    pairs = rng.integers(1, [n_users + 1, n_items + 1], size=(3 * n_users, 2))
    hidden = UserItems(pairs[:, 0], pairs[:, 1], n_users + 1, n_items + 1) if hide else None
    asked = rng.permutation(np.arange(1, n_users + 1))

    source = VectorScores(torch.from_numpy(users), torch.from_numpy(items), candidates)
    found = list(best(source, asked, k, hidden, block_bytes))
    assert np.array_equal(np.concatenate([block.users for block in found]), asked)
    known = set(map(tuple, pairs.tolist())) if hide else set()
    for block in found:
        for user, listed, scores in zip(block.users, block.items, block.scores):
            left = [item for item in candidates.tolist() if (int(user), item) not in known]
            expected = sorted(left, key=lambda item: -(users[user] @ items[item]))[:k]
            there = ~np.isneginf(scores)
            assert listed[there].tolist() == expected
            assert there.sum() == len(expected)
            np.testing.assert_allclose(scores[there], items[expected] @ users[user], rtol=1e-5)

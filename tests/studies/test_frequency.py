"""Groups of users and items by their training interactions, against a loop over them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_darec.numerics import frequency_buckets
from recbole_darec.recbole_compat.kept_ranking import KeptRanking
from recbole_darec.studies.frequency import GROUPS, by_frequency


def test_thirds_are_of_ids_where_buckets_are_of_interactions() -> None:
    of_items = np.array([0, 12, 6, 3, 2, 1, 1, 1, 1, 1])  # a long tail; 0 is the padding
    of_users = np.array([0, 1, 2, 3, 4, 5, 6])
    wanted = np.array([1, 2, 3, 4, 5, 9])
    ranking = KeptRanking(
        users=np.arange(1, 7),
        items=np.array([[1, 2], [2, 1], [1, 2], [4, 3], [1, 2], [1, 9]]),
        wanted_rows=np.arange(6),
        wanted_items=wanted,
        metrics={"hit@2": np.array([1, 1, 0, 1, 0, 1], np.float32)},
    )
    found = by_frequency(ranking, of_users, of_items)
    assert list(found["users"]) == list(GROUPS)
    assert [group["n"] for group in found["users"].values()] == [2, 2, 2]
    assert [group["most"] for group in found["users"].values()] == [2, 4, 6]
    hits = [group["hit@2"] for group in found["users"].values()]
    assert hits == pytest.approx([1.0, 0.5, 0.5])
    # Five items stand there once, and ties stay together: no third can be cut among them.
    assert [group["most"] for group in found["items"].values()] == [1, 2, 12]
    assert [group["n"] for group in found["items"].values()] == [2, 1, 3]
    recalls = [group["recall@2"] for group in found["items"].values()]
    assert recalls == pytest.approx([0.5, 1.0, 2 / 3])
    # result_buckets have 28 / 3 interactions each, so that seven of nine items are cold.
    buckets = frequency_buckets(torch.from_numpy(of_items[1:]), 3)
    assert buckets.bincount().tolist() == [0, 1, 1, 7]

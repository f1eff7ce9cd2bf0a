"""Scores of items beyond those that a filter was fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.new_items import NewItemScores
from recbole_darec.filters.text_graph import TextGraph
from recbole_darec.filters.weights import FilterWeights

USERS, ITEMS, NEW, WIDTH, NEAREST = 14, 11, 3, 5, 3


def rows(seed: int, n: int) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal((n, WIDTH)) + 0.5


def unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def naive_graph(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """D^-1/2 of squared cosines of centred rows; no direction is left out."""
    mean = unit(known).mean(0)
    centred, asked = unit(unit(known) - mean), unit(unit(new) - mean)
    graph = np.zeros((len(known), len(known)))
    for n, row in enumerate(centred):
        cosines = centred @ row
        cosines[n] = -np.inf
        for near in np.argsort(-cosines)[:NEAREST]:
            graph[n, near] = max(cosines[near], 0.0) ** 2
    degrees = np.maximum(graph, graph.T).sum(1)
    found = np.zeros((len(known), len(new)))
    for m, row in enumerate(asked):
        cosines = centred @ row
        for near in np.argsort(-cosines)[:NEAREST]:
            found[near, m] = max(cosines[near], 0.0) ** 2
    return found / np.sqrt(degrees)[:, None] / np.sqrt(found.sum(0))


@pytest.mark.parametrize("weights", [
    FilterWeights(text=0.7),
    FilterWeights(two_hops=0.3, text=0.5, popularity=0.4, match=0.6, user_text=0.2),
    FilterWeights(text=0.5, match=0.6, low_pass=0.5, low_pass_width=4.0),
])  # fmt: skip
def test_a_new_item_has_the_text_pieces_of_the_filter(weights: FilterWeights) -> None:
    x = (np.random.RandomState(1).random_sample((USERS, ITEMS)) < 0.35).astype(float)
    items, users, new = rows(2, ITEMS), rows(3, USERS), rows(4, NEW)
    inputs = FilterInputs.of(
        x, torch.from_numpy(items), torch.from_numpy(users), width=WIDTH, n_neighbours=NEAREST
    )
    fitted = FittedFilter(inputs, weights)
    graph = naive_graph(items, new)
    np.testing.assert_allclose(
        inputs.item_texts.columns_of(torch.from_numpy(items), torch.from_numpy(new)).toarray(),
        graph,
        atol=1e-5,
    )
    scores = NewItemScores(fitted, torch.from_numpy(items), torch.from_numpy(new)).scores(
        np.arange(USERS)
    )
    d = fitted.deviations
    y = np.asarray(fitted.rows(np.arange(USERS)).todense())
    s = np.asarray(inputs.user_texts.matrix.todense())
    of_graph = weights.text / d["text"] * (y @ graph)
    expected = of_graph / d["graph"]
    expected += weights.user_text / d["users"] * (weights.text / d["text"]) * (s @ y @ graph)
    mean_items, mean_users = unit(items).mean(0), unit(users).mean(0)
    cosines = unit(unit(users) - mean_users) @ unit(unit(new) - mean_items).T
    expected += weights.match / d["match"] * cosines
    expected /= d["sum"]  # the low pass gives a new item nothing
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_without_any_profile_nothing_is_near() -> None:
    none = TextGraph.of(torch.zeros(4, 3)).columns_of(torch.zeros(4, 3), torch.zeros(2, 3))
    assert none.shape == (4, 2)
    assert none.nnz == 0

"""The text filter's scores of new items beside those of the trained ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from recbole_darec.alignment.contract import Ranking, Widths
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.filters.new_items import NewItemScores
from recbole_darec.settings.options import parse_options

USERS, ITEMS, NEW, WIDTH = 9, 12, 3, 6


def z(scores: np.ndarray, new: np.ndarray) -> np.ndarray:
    return (new - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)


@pytest.mark.parametrize("text", [0.0, 0.8])
def test_both_parts_are_standardised_over_the_trained_items(text: float) -> None:
    weights = {"two_hops": 0.2, "text": text, "popularity": 0.1, "match": 0.0, "user_text": 0.0}
    given = {f"filter_{name}": value for name, value in weights.items()}
    method = aligner_class("text_filter")
    options = parse_options(
        method.Options, {**given, "filter_item_exponent": 0.3, "filter_weight": 0.4}
    )
    aligner = method(options, Widths(4, 4, WIDTH, ("user", "item")))
    rng = np.random.default_rng(0)
    kinds = {"user": slice(0, USERS), "item": slice(USERS, USERS + ITEMS)}
    profiles = torch.from_numpy(rng.normal(size=(USERS + ITEMS, WIDTH)))
    ranking = Ranking(csr_matrix(rng.random((USERS, ITEMS)) < 0.4, dtype=float), profiles, kinds)
    new_profiles = torch.from_numpy(rng.normal(size=(NEW, WIDTH)))
    own, new = rng.normal(size=(2, ITEMS)), rng.normal(size=(2, NEW))
    users = torch.tensor([4, 1])
    found = aligner.alter_new_scores(
        torch.from_numpy(new), torch.from_numpy(own), users, new_profiles, ranking
    ).numpy()
    if not text:
        np.testing.assert_allclose(found, z(own, new), rtol=1e-4, atol=1e-5)
        return
    fitted = aligner.fitted(ranking)
    ours = NewItemScores(fitted, profiles[USERS:], new_profiles).scores(users.numpy())
    of_filter = z(fitted.scores(users.numpy()), ours)
    np.testing.assert_allclose(found, 0.4 * of_filter + 0.6 * z(own, new), rtol=1e-4, atol=1e-5)

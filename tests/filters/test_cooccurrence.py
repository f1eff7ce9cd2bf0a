"""Products with P however they are made, and GF-CF, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_darec.filters.cooccurrence import Cooccurrence
from recbole_darec.filters.equations import normalised_interactions
from recbole_darec.filters.gf_cf import GraphFilter

from . import naive

MODULE = "recbole_darec.filters.cooccurrence"


def interactions(users: int = 30, items: int = 23) -> np.ndarray:
    x = (np.random.RandomState(3).random_sample((users, items)) < 0.2).astype(float)
    x[4] = 0
    x[:, 6] = 0
    return x


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_every_way_gives_the_product(
    kept: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}._KEPT_ENTRIES", kept)
    monkeypatch.setattr(f"{MODULE}._SPARSE_SHARE", share)
    y = normalised_interactions(sp.csr_matrix(interactions()), 0.5, 0.3)
    made = Cooccurrence(y)
    gram = y.toarray().T.astype(float) @ y.toarray()
    power = gram / np.linalg.eigvalsh(gram)[-1]
    once = made.of(y[[7, 4, 9]])
    assert sp.issparse(once) == (bool(kept) or share > 0)
    once = once.toarray() if sp.issparse(once) else once
    rows = y[[7, 4, 9]].toarray().astype(float)
    np.testing.assert_allclose(once, rows @ power, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(made.of_dense(once), rows @ power @ power, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("weight", "width"), [(0.0, 5), (0.3, 5), (0.7, 22), (0.3, 256)])
def test_gf_cf_is_the_papers_formula(weight: float, width: int) -> None:
    x = interactions()
    y = naive.interactions(x, 0.5, 0.5)
    _, values, right = np.linalg.svd(y)
    vectors = right[:width].T[:, values[:width] > 1e-8]
    degrees = x.sum(0)
    root = np.diag(np.sqrt(degrees))
    inverse = np.diag(np.where(degrees > 0, np.maximum(degrees, 1.0) ** -0.5, 0.0))
    wanted = x @ (y.T @ y + weight * inverse @ vectors @ vectors.T @ root)
    found = GraphFilter(sp.csr_matrix(x), weight=weight, width=width)
    users = np.array([9, 0, 4, 29])
    np.testing.assert_allclose(found.scores(users), wanted[users], rtol=1e-4, atol=1e-5)

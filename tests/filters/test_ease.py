"""EASE and its text prior against their definitions as constrained least squares."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_darec.filters.ease import ease, text_ease, text_prior


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    return (rng.random_sample((30, 9)) < 0.3).astype(float), rng.standard_normal((9, 4))


def solved(x: np.ndarray, mu: float, kappa: float, prior: np.ndarray) -> np.ndarray:
    """Column by column: ridge regression on the other items' columns, drawn to the prior."""
    n = x.shape[1]
    found = np.zeros((n, n))
    for j in range(n):
        rest = [i for i in range(n) if i != j]
        a = x[:, rest]
        left = a.T @ a + mu * np.eye(n - 1)
        found[rest, j] = np.linalg.solve(left, a.T @ x[:, j] + kappa * prior[rest, j])
    return found


@pytest.mark.parametrize("mu", [0.5, 20.0])
def test_ease_solves_its_problem(mu: float) -> None:
    x, _ = data()
    wanted = solved(x, mu, 0.0, np.zeros((9, 9)))
    np.testing.assert_allclose(ease(x.T @ x, mu), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("mu", "kappa", "lam"), [(2.0, 1.0, 0.5), (20.0, 20.0, 3.0)])
def test_text_ease_solves_its_problem(mu: float, kappa: float, lam: float) -> None:
    x, features = data(1)
    prior = solved(features.T, lam, 0.0, np.zeros((9, 9)))
    wanted = solved(x, mu, kappa, prior)
    found = text_ease(x.T @ x, features, mu=mu, kappa=kappa, regularisation=lam)
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)


def test_without_weight_the_prior_is_gone() -> None:
    x, features = data(2)
    gram = x.T @ x
    found = text_ease(gram, features, mu=3.0, kappa=0.0, regularisation=1.0)
    np.testing.assert_allclose(found, ease(gram, 3.0), rtol=1e-9, atol=1e-12)


def test_the_priors_parts_are_the_texts_ease() -> None:
    _, features = data(3)
    thin, diagonal = text_prior(features, 0.7)
    inverse = np.linalg.inv(features @ features.T + 0.7 * np.eye(9))
    np.testing.assert_allclose((np.eye(9) - thin @ thin.T) / 0.7, inverse, atol=1e-10)
    np.testing.assert_allclose(diagonal, np.diag(inverse), atol=1e-10)

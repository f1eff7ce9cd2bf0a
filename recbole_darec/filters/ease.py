"""EASE (Steck, WWW 2019), and EASE with a text prior (L3AE, CIKM 2025), in closed form."""

from __future__ import annotations

import numpy as np
from scipy import linalg

__all__ = ["ease", "ease_bytes", "text_ease", "text_prior"]


def ease_bytes(n_items: int, with_text: bool) -> int:
    """Return the bytes that the closed form takes at its peak: float64 matrices ``[n, n]``.

    Args:
        n_items: n.
        with_text: whether there is a text prior.
    """
    return 8 * n_items * n_items * (4 if with_text else 2)


def ease(gram: np.ndarray, mu: float) -> np.ndarray:
    """Return ``B = argmin ||X - XB||² + mu ||B||²`` with a zero diagonal.

    Args:
        gram: ``G = XᵀX``, float ``[n, n]``.
        mu: above 0.

    Returns:
        float64 ``[n, n]``.
    """
    inverse = _inverse(gram, mu)
    found = inverse / -np.diag(inverse)
    np.fill_diagonal(found, 0.0)
    return found


def text_prior(features: np.ndarray, regularisation: float) -> tuple[np.ndarray, np.ndarray]:
    """Return EASE of the texts in two small parts.

    ``S = I - P D^-1`` with ``P = (F Fᵀ + λ I)^-1 = (I - U Uᵀ) / λ`` by Woodbury's identity and
    ``D = diag(P)``; U has as many columns as F.

    Args:
        features: F, item profiles, float ``[n, w]``.
        regularisation: λ, above 0.

    Returns:
        U, float64 ``[n, w]``, and ``diag(P)``, float64 ``[n]``.
    """
    rows = np.asarray(features, dtype=np.float64)
    inner = rows.T @ rows
    inner[np.diag_indices_from(inner)] += regularisation
    # U = F L^-T with L Lᵀ = FᵀF + λ I, so that U Uᵀ = F (FᵀF + λ I)^-1 Fᵀ.
    lower = linalg.cholesky(inner, lower=True)
    thin = linalg.solve_triangular(lower, rows.T, lower=True).T
    return thin, (1.0 - np.square(thin).sum(1)) / regularisation


def text_ease(
    gram: np.ndarray, features: np.ndarray, *, mu: float, kappa: float, regularisation: float
) -> np.ndarray:
    """Return ``B = argmin ||X - XB||² + (mu - kappa)||B||² + kappa ||B - S||²``, zero diagonal.

    With ``R = (G + mu I)^-1``: ``B0 = I - mu R + kappa R S`` and
    ``B = B0 - R diag(B0) / diag(R)``, column by column.  S is EASE of the texts
    (:func:`text_prior`), so that one inverse ``[n, n]`` is all that costs.

    Args:
        gram: ``G = XᵀX``, float ``[n, n]``.
        features: F, item profiles, float ``[n, w]``.
        mu: above 0.
        kappa: 0 to mu; 0 is EASE by itself.
        regularisation: λ of the texts' own EASE, above 0.

    Returns:
        float64 ``[n, n]``.
    """
    inverse = _inverse(gram, mu)
    thin, diagonal = text_prior(features, regularisation)
    # R S = R - R P D^-1, and R P = (R - (R U) Uᵀ) / λ.
    product = (inverse - (inverse @ thin) @ thin.T) / regularisation
    product /= -diagonal
    product += inverse
    found = kappa * product
    found -= mu * inverse
    found[np.diag_indices_from(found)] += 1.0
    found -= inverse * (np.diag(found) / np.diag(inverse))
    np.fill_diagonal(found, 0.0)
    return found


def _inverse(gram: np.ndarray, mu: float) -> np.ndarray:
    """Return ``(G + mu I)^-1`` of a symmetric G, by its Cholesky factor."""
    shifted = np.array(gram, dtype=np.float64)
    shifted[np.diag_indices_from(shifted)] += mu
    factor = linalg.cho_factor(shifted, lower=True, overwrite_a=True)
    inverse: np.ndarray = linalg.cho_solve(factor, np.eye(len(shifted)), overwrite_b=True)
    return inverse

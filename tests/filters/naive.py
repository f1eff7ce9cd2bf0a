"""The filter's formulas with dense float64 matrices and loops, as docs/method.md writes them."""

from __future__ import annotations

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 1e-6, lengths, 1.0) * (lengths > 1e-6)


def interactions(x: np.ndarray, a: float, b: float) -> np.ndarray:
    found = np.zeros(x.shape)
    for u in range(x.shape[0]):
        for i in range(x.shape[1]):
            if x[u, i]:
                found[u, i] = x[u].sum() ** -a * x[:, i].sum() ** -b
    return found


def centred(rows: np.ndarray) -> np.ndarray:
    present = np.linalg.norm(rows, axis=1) > 0
    found = np.zeros(rows.shape)
    if present.any():
        part = unit(rows[present])
        found[present] = unit(part - part.mean(0))
    return found


def graph(rows: np.ndarray, width: int, k: int) -> np.ndarray:
    n = len(rows)
    present = np.flatnonzero(np.linalg.norm(rows, axis=1) > 0)
    found = np.zeros((n, n))
    if len(present) < 2:
        return found
    part = unit(rows[present])
    part = part - part.mean(0)
    left, values, _ = np.linalg.svd(part, full_matrices=False)
    part = unit((left * values)[:, :width])
    cosines = part @ part.T
    for a, i in enumerate(present):
        others = sorted((b for b in range(len(present)) if b != a), key=lambda b: -cosines[a, b])
        for b in others[:k]:
            found[i, present[b]] = max(cosines[a, b], 0.0) ** 2
    found = np.maximum(found, found.T)
    degrees = found.sum(1)
    scale = np.where(degrees > 0, degrees, 1.0) ** -0.5
    return scale[:, None] * found * scale


def low_pass(x: np.ndarray, width: int) -> np.ndarray:
    """What the leading singular vectors keep: GF-CF's ideal low pass of rows by D_u^-1/2."""
    y = interactions(x, 0.5, 0.5)
    _, values, right = np.linalg.svd(y, full_matrices=False)
    kept = right[:width][values[:width] > 1e-6]
    found = np.zeros(x.shape)
    for vector in kept:
        for i in range(x.shape[1]):
            found[:, i] += (y @ vector) * vector[i] * x[:, i].sum() ** 0.5
    return found


def scores(
    x: np.ndarray,
    item_rows: np.ndarray | None,
    user_rows: np.ndarray | None,
    *,
    c: float,
    t: float,
    p: float,
    h: float,
    g: float,
    b: float,
    width: int,
    k: int,
    low: float = 0.0,
    low_width: int = 64,
) -> np.ndarray:
    """F of all users: each piece divided by the deviation of all its scores."""
    y = interactions(x, 0.5, b)
    gram = y.T @ y
    power = gram / np.linalg.eigvalsh(gram)[-1]

    def by_deviation(piece: np.ndarray) -> np.ndarray:
        return piece / piece.std() if piece.std() > 1e-10 else piece

    pieces = [(1.0, power), (c, power @ power)]
    if item_rows is not None:
        pieces.append((t, graph(item_rows, width, k)))
    popularity = np.maximum(x.sum(0), 1.0) ** p
    deviations = [(y @ m).std() or 1.0 for _, m in pieces]

    def filtered(rows: np.ndarray) -> np.ndarray:
        return popularity * sum(w * (rows @ m) / d for (w, m), d in zip(pieces, deviations) if w)

    f0 = filtered(y)
    total = by_deviation(f0)
    if h and item_rows is not None:
        items = centred(item_rows)
        users = unit(x @ items)
        if user_rows is not None:
            known = np.linalg.norm(user_rows, axis=1) > 0
            users[known] = centred(user_rows)[known]
        total = total + h * by_deviation(users @ items.T)
    if g and user_rows is not None:
        total = total + g * by_deviation(filtered(graph(user_rows, width, k) @ y))
    if low:
        total = by_deviation(total) + low * by_deviation(low_pass(x, low_width))
    return total

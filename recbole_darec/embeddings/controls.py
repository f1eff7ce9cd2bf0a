"""Control experiments on profile embeddings: what is left when they say nothing about their owner.

If an alignment gains as much with shuffled or random rows as with the true ones, its gain is
regularisation and not semantics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["CONTROLS", "apply_control"]

CONTROLS = ("none", "shuffle", "random")

_BLOCK_ROWS = 2048


def apply_control(
    matrix: np.ndarray,
    control: str,
    seed: int | Sequence[int],
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Replace the rows of a matrix of profile embeddings by another's rows, or by noise.

    - ``none``: the matrix itself.
    - ``shuffle``: a random permutation of the rows in one single cycle, so that no row stays where
      it was (a single row has nowhere to go and stays).
    - ``random``: Gaussian rows with the same mean and standard deviation per column, which keeps
      the scale and the common direction of the embeddings and nothing else.

    Args:
        matrix: [n_ids, width], row 0 the padding row; left unchanged.
        control: one of ``CONTROLS``.
        seed: of a generator of its own; the global random states are neither used nor moved.
        rows: int [m], the rows that the control acts on; default all but row 0, which never
            takes part.

    Returns:
        [n_ids, width] of the same dtype; a new array unless ``control`` is ``none``.

    Raises:
        ValueError: ``control`` is none of ``CONTROLS``.
    """
    if control not in CONTROLS:
        raise ValueError(f"control must be one of {', '.join(CONTROLS)}, not {control!r}")
    if control == "none":
        return matrix
    index = np.arange(1, len(matrix)) if rows is None else np.asarray(rows, dtype=np.int64)
    index = index[index != 0]
    out = matrix.copy()
    if index.size == 0:
        return out
    rng = np.random.Generator(np.random.PCG64(seed))
    if control == "shuffle":
        cycle = rng.permutation(index)
        out[cycle] = matrix[np.roll(cycle, 1)]
        return out

    mean, std = _column_moments(matrix, index)
    for start in range(0, index.size, _BLOCK_ROWS):
        block = index[start : start + _BLOCK_ROWS]
        noise = rng.standard_normal((block.size, matrix.shape[1]), dtype=np.float32)
        out[block] = noise * std + mean
    return out


def _column_moments(matrix: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over some rows, summed in float64 [width]."""
    mean = np.zeros(matrix.shape[1])
    for start in range(0, index.size, _BLOCK_ROWS):
        mean += matrix[index[start : start + _BLOCK_ROWS]].sum(axis=0, dtype=np.float64)
    mean /= index.size
    square = np.zeros_like(mean)
    for start in range(0, index.size, _BLOCK_ROWS):
        rest = matrix[index[start : start + _BLOCK_ROWS]] - mean
        square += (rest * rest).sum(axis=0)
    return mean.astype(np.float32), np.sqrt(square / index.size).astype(np.float32)

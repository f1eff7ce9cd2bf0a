"""Rows in their leading principal directions."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast, unit_rows

__all__ = ["principal_rows", "whitened_rows"]


def principal_rows(rows: Tensor, width: int) -> Tensor:
    """Return unit rows in the leading principal directions of the centred unit rows.

    Text embeddings share a direction (the squared norm of the mean of unit rows is around 0.4),
    which makes all cosines alike; without their mean the cosines tell texts apart.  The leading
    directions hold most of them at a fraction of the width.

    Args:
        rows: shape (N, w), N >= 1.
        width: number of directions; limited by the width and the number of the rows.

    Returns:
        shape (N, min(width, w, N)), float32 for half-precision input, without gradient; a row that
        equals the mean is zero.

    Raises:
        ValueError: ``width`` < 1.
    """
    if width < 1:
        raise ValueError(f"there must be at least one direction, got width {width}")
    with torch.no_grad():
        unit = unit_rows(rows)
        centred = unit - unit.mean(0)
        with no_autocast(centred):
            # In float64: the small eigenvalues of a float32 product of squares are noise.
            covariance = centred.T.double() @ centred.double()
            directions = torch.linalg.eigh(covariance).eigenvectors.flip(1)
            kept = directions[:, : min(width, *rows.shape)].to(centred.dtype)
            # The eps is absolute: what is left of a row that equals the mean is rounding.
            return unit_rows(centred @ kept, eps=1e-6)


def whitened_rows(rows: Tensor, width: int) -> Tensor:
    """Return the centred rows in their leading principal directions, each of deviation 1.

    Args:
        rows: float ``[n, w]``, n above 1.
        width: number of directions; limited by what the rows have.

    Returns:
        float32 ``[n, min(width, rank)]``, without gradient; its columns are uncorrelated.
    """
    with torch.no_grad(), no_autocast(rows):
        centred = rows.double() - rows.double().mean(0)
        values, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
        kept = values.flip(0) > values[-1] * 1e-10  # the rest is rounding
        n = min(width, int(kept.sum()))
        scale = values.flip(0)[:n].rsqrt()
        return ((centred @ directions.flip(1)[:, :n]) * scale).float()

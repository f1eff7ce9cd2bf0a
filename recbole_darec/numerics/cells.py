"""Nearest rows found in a few cells of the space, where comparing all pairs takes too long."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.kmeans import kmeans
from recbole_darec.numerics.rows import no_autocast, unit_rows

__all__ = ["CELL_ROWS", "PROBED", "nearest_in_cells"]

CELL_ROWS = 256  # of a cell, on average
PROBED = 32
_SAMPLED = 16  # rows of a cell on average from which the centers are found
_ITERATIONS = 5


def nearest_in_cells(
    rows: Tensor,
    n_nearest: int,
    *,
    probed: int = PROBED,
    cell_rows: int = CELL_ROWS,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return rows of great cosine with each row, itself left out: most of the nearest, not all.

    K-Means parts the rows into N / ``cell_rows`` cells; the rows of a cell are compared with those
    of the cells whose centers are nearest to its own.  Time O(N d (probed cell_rows +
    N / cell_rows)), which for a million rows is a hundredth of all pairs.  The more the rows fall
    into clusters, as texts do, the more of the nearest are found; of rows without any structure
    few are.

    Args:
        rows: shape (N, d), of any scale.
        n_nearest: how many.
        probed: cells that are searched for each cell, its own counted.
        cell_rows: rows of a cell, on average.
        seed: of the rows that K-Means begins with.

    Returns:
        row numbers, int64 (N, k), and their cosines (N, k), greatest first, as
        :func:`~recbole_darec.numerics.neighbours.nearest_rows` has them.  A row that met fewer
        than k others has itself with the cosine -1 in the last places.
    """
    with torch.no_grad():
        unit = unit_rows(rows)
        n = len(unit)
        k = max(0, min(n_nearest, n - 1))
        centers = _centers(unit, cell_rows, seed)
        labels, _ = kmeans(unit, len(centers), init_centers=centers, iterations=1)
        order = labels.argsort(stable=True)
        ends = torch.bincount(labels, minlength=len(centers)).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        near = unit_rows(centers) @ unit_rows(centers).T
        near.fill_diagonal_(torch.inf)  # its own cell first, also where two centers are equal
        searched = near.topk(min(probed, len(centers)), dim=1).indices.tolist()
        numbers = torch.arange(n, device=unit.device).unsqueeze(1).repeat(1, k)
        cosines = unit.new_full((n, k), -1.0)
        with no_autocast(unit):
            for cell, others in enumerate(searched):
                own = order[starts[cell] : ends[cell]]
                if not len(own):
                    continue
                met = torch.cat([order[starts[other] : ends[other]] for other in others])
                tile = unit[own] @ unit[met].T
                tile[:, : len(own)].fill_diagonal_(-torch.inf)  # its own cell stands first
                found = min(k, len(met) - 1)
                values, columns = tile.topk(found, dim=1)
                cosines[own, :found], numbers[own, :found] = values, met[columns]
    return numbers, cosines


def _centers(unit: Tensor, cell_rows: int, seed: int) -> Tensor:
    """Return the centers of the cells, found from a sample of the rows."""
    n = len(unit)
    n_cells = max(1, n // cell_rows)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(unit.device)
    sample = unit[order[: n_cells * _SAMPLED]]
    return kmeans(sample, n_cells, init_centers=sample[:n_cells].clone(), iterations=_ITERATIONS)[1]

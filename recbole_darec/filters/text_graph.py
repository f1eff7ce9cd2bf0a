"""The graph of nearest profiles, T of the items and S of the users."""

from __future__ import annotations

from dataclasses import dataclass
from logging import getLogger
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_darec.filters.equations import present_rows
from recbole_darec.numerics.cells import nearest_in_cells
from recbole_darec.numerics.neighbours import nearest_among, nearest_rows
from recbole_darec.numerics.principal import PrincipalDirections

__all__ = ["EXACT_ROWS", "TextGraph"]

# The most profiles of a kind that `auto` compares with each other.
EXACT_ROWS = 200_000


@dataclass(frozen=True)
class TextGraph:
    """A graph of nearest profiles, and what new rows need to be put beside it.

    Attributes:
        matrix: ``D^-1/2 T D^-1/2``, scipy CSR float32 ``[n, n]``, symmetric, zero diagonal.
        degrees: D, the sums of T's rows, float ``[n]``.
        n_neighbours: nearest profiles of a row.
        directions: those in which profiles are compared; None where fewer than two rows have one.
    """

    matrix: Any
    degrees: np.ndarray
    n_neighbours: int
    directions: PrincipalDirections | None

    @classmethod
    def of(
        cls,
        rows: Tensor,
        *,
        width: int = 128,
        n_neighbours: int = 20,
        search: str = "auto",
        device: Any = None,
    ) -> TextGraph:
        """Find the graph of profiles.

        The rows are made unit, centred, and taken in their leading directions (singular values
        kept), unit again; the cosines of the nearest ones, negatives 0, are squared and made
        symmetric by the larger of both.  A zero row has no profile: it has no neighbour, and counts
        in no mean.

        Args:
            rows: profile embeddings of one kind, float ``[n, w]``.
            width: number of leading directions.
            n_neighbours: nearest ones of a row.
            search: ``exact`` compares all pairs, ``cells`` those of near cells of the space
                (:func:`~recbole_darec.numerics.cells.nearest_in_cells`), ``auto`` all pairs of up
                to 200,000 profiles.
            device: where they are compared; None is where ``rows`` are.
        """
        n, present = len(rows), present_rows(rows)
        if len(present) < 2:
            empty = sp.csr_matrix((n, n), dtype=np.float32)
            return cls(empty, np.zeros(n, np.float32), n_neighbours, None)
        directions, compared = _in_directions(rows, present, width, device)
        if search == "exact" or (search == "auto" and len(present) <= EXACT_ROWS):
            numbers, cosines = nearest_rows(compared, n_neighbours)
        else:
            getLogger().info(
                f"text filter: the neighbours of {len(present):,} profiles are looked for in cells "
                "of the space, which finds most of the nearest; filter_search=exact finds all"
            )
            numbers, cosines = nearest_in_cells(compared, n_neighbours)
        graph = _edges(present, numbers, cosines, (n, n))
        graph = graph.maximum(graph.T)
        graph.eliminate_zeros()
        degrees = np.asarray(graph.sum(1)).ravel()
        scale = _scale(degrees)
        matrix = sp.csr_matrix(scale @ graph @ scale, dtype=np.float32)
        return cls(matrix, degrees, n_neighbours, directions)

    def columns_of(self, rows: Tensor, new: Tensor) -> Any:
        """Return the columns that new rows would have in the graph.

        A new row's neighbours are looked for among ``rows``, in their directions; the degrees of
        these are those that they have without it.

        Args:
            rows: those that the graph was made of, float ``[n, w]``.
            new: others of the same kind, float ``[m, w]``.

        Returns:
            scipy CSR float32 ``[n, m]``.
        """
        present, asked = present_rows(rows), present_rows(new)
        shape = (len(rows), len(new))
        if self.directions is None or not len(asked):
            return sp.csr_matrix(shape, dtype=np.float32)
        numbers, cosines = nearest_among(
            self.directions(new[torch.from_numpy(asked)].to(self.directions.mean.device)),
            self.directions(rows[torch.from_numpy(present)].to(self.directions.mean.device)),
            self.n_neighbours,
        )
        found = _edges(asked, numbers, cosines, (len(new), len(rows)), present).T
        scaled = _scale(self.degrees) @ found @ _scale(np.asarray(found.sum(0)).ravel())
        return sp.csr_matrix(scaled, dtype=np.float32)


def _in_directions(
    rows: Tensor, present: np.ndarray, width: int, device: Any
) -> tuple[PrincipalDirections, Tensor]:
    known = rows if len(present) == len(rows) else rows[torch.from_numpy(present)]
    known = known if device is None else known.to(device)
    directions = PrincipalDirections.of(known, width)
    return directions, directions(known)


def _edges(
    own: np.ndarray,
    numbers: Tensor,
    cosines: Tensor,
    shape: tuple[int, int],
    among: np.ndarray | None = None,
) -> Any:
    """Return squared cosines of rows and their nearest ones, negatives 0, scipy CSR."""
    near = cosines.float().cpu().numpy().clip(min=0.0) ** 2
    columns = (own if among is None else among)[numbers.cpu().numpy().ravel()]
    return sp.csr_matrix((near.ravel(), (np.repeat(own, near.shape[1]), columns)), shape=shape)


def _scale(degrees: np.ndarray) -> Any:
    """Return ``D^-1/2``, scipy sparse diagonal, with 0 for a degree of 0."""
    factor = np.zeros_like(degrees)
    np.power(degrees, -0.5, where=degrees > 0, out=factor)
    return sp.diags(factor)

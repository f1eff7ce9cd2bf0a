"""Neighbours in the frozen profiles share, in training and in prediction, what each has learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.contract import Aligner, TrainedRows, Widths
from recbole_darec.settings.options import Options, option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NeighbourOptions", "ProfileNeighbours"]


class NeighbourOptions(Options):
    """Options of the profile neighbours."""

    neighbour_weight: float = option(
        0.3,
        "Weight of the mean of the profile neighbours' embeddings, added to each embedding; 0 "
        "leaves the representation as it is.",
        low=0.0,
    )
    n_neighbours: int = option(
        10, "Neighbours of each row (user, item): the nearest of its kind by profile.", low=1
    )
    relation_width: int = option(
        128, "Principal directions in which the centred profiles are compared.", low=1
    )


class ProfileNeighbours(Aligner):
    """Adds to each embedding the mean of its profile neighbours'."""

    Options: ClassVar[type] = NeighbourOptions
    options: NeighbourOptions

    def __init__(self, options: Any, widths: Widths) -> None:
        super().__init__(options, widths)
        # Made of the frozen profiles when they are first seen; not part of a checkpoint.
        self._targets: Tensor | None = None
        self._neighbours: Any = None

    def alter_final(self, final: Tensor, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return ``e + w * mean of e over the profile neighbours``, of the same width."""
        weight = self.options.neighbour_weight
        if weight == 0.0:
            return final
        targets = self.targets_of(profiles, kinds)
        if self._neighbours is None:
            from recbole_darec.numerics import NeighbourMean

            self._neighbours = NeighbourMean.of(
                targets, list(kinds.values()), self.options.n_neighbours
            )
        altered: Tensor = final + weight * self._neighbours(final)
        return altered

    def rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor:
        """Return the mean of the profile neighbours' rows, weighted by their cosines."""
        from recbole_darec.numerics import PrincipalDirections, nearest_among

        directions = PrincipalDirections.of(trained.profiles, self.options.relation_width)
        numbers, cosines = nearest_among(
            directions(profiles), directions(trained.profiles), self.options.n_neighbours
        )
        # As in training a row that points away is no neighbour, but for the nearest one of all.
        weights = cosines.clamp_min(0.0)
        weights[:, 0].clamp_min_(1e-6)
        weights = weights / weights.sum(1, keepdim=True)
        rows = trained.rows[numbers]
        return (weights.to(rows.dtype).unsqueeze(2) * rows).sum(1)

    def targets_of(self, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return the profiles' leading directions, each kind by itself, unit rows."""
        if self._targets is None or self._targets.device != profiles.device:
            import torch

            from recbole_darec.alignment.equations import principal_rows

            width = self.options.relation_width
            found = [principal_rows(profiles[rows], width) for rows in kinds.values()]
            widest = max(rows.shape[1] for rows in found)
            # A kind of few rows has few directions.
            padded = [torch.nn.functional.pad(r, (0, widest - r.shape[1])) for r in found]
            self._targets, self._neighbours = torch.cat(padded), None
        return self._targets

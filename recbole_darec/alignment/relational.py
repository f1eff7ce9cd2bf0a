"""Relational: what is alike in the frozen profiles is kept alike among the embeddings.

No method of the papers, but a remedy for what was measured of DaRec (docs/results.md): hardly any
gradient of its structure terms reaches the backbone.  Here the structure is that of the frozen
profiles themselves.  No projection is trained, so nothing can collapse; and neighbours in the
profiles share, in training and in prediction, part of what each has learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from recbole_darec.alignment.contract import Aligner, TrainingStep, Widths
from recbole_darec.options import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Relational", "RelationalOptions"]


@dataclass(frozen=True)
class RelationalOptions:
    """Options of the relational aligner."""

    neighbour_weight: float = option(
        0.3,
        "Weight of the mean of the profile neighbours' embeddings, added to each embedding; 0 "
        "leaves the representation as it is.",
        low=0.0,
    )
    n_neighbours: int = option(
        10, "Neighbours of a user or item: the nearest of its kind by its profile.", low=1
    )
    relation_weight: float = option(
        0.0, "Weight of the matching of relations; 0 leaves it and its cost out.", low=0.0
    )
    relation_sample: int = option(
        512, "Users, and as many items, whose relations are matched in a step.", low=2
    )
    relation_temperature: float = option(
        0.5, "Temperature of the relations among the embeddings.", low=0.02
    )
    target_temperature: float = option(
        0.1, "Temperature of the relations among the profiles.", low=0.02
    )
    relation_width: int = option(
        128, "Principal directions in which the centred profiles are compared.", low=1
    )


class Relational(Aligner):
    """Profile neighbours in the representation, and relations matched to the frozen profiles'."""

    Options: ClassVar[type] = RelationalOptions

    def __init__(self, options: RelationalOptions, widths: Widths) -> None:
        super().__init__(options, widths)
        self.options: RelationalOptions = options
        # Made of the frozen profiles when they are first seen; not part of a checkpoint.
        self._targets: Optional[Tensor] = None
        self._neighbours: Any = None

    def alter_final(self, final: Tensor, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return ``e + w * mean of e over the profile neighbours``, of the same width."""
        weight = self.options.neighbour_weight
        if weight == 0.0:
            return final
        targets = self._targets_of(profiles, kinds)
        if self._neighbours is None:
            from recbole_darec.numerics import NeighbourMean

            self._neighbours = NeighbourMean.of(
                targets, list(kinds.values()), self.options.n_neighbours
            )
        altered: Tensor = final + weight * self._neighbours(final)
        return altered

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return ``rel``: the matching of relations, users and items each, times its weight."""
        import torch

        from recbole_darec.alignment.equations import relation_matching

        opt = self.options
        if opt.relation_weight == 0.0:
            return {}
        targets = self._targets_of(step.profiles, step.kinds)
        total = step.collaborative.new_zeros(())
        for rows in step.kinds.values():
            chosen = torch.randperm(rows.stop - rows.start, device=targets.device)
            chosen = chosen[: opt.relation_sample] + rows.start
            total = total + relation_matching(
                step.collaborative[chosen],
                targets[chosen],
                temperature=opt.relation_temperature,
                target_temperature=opt.target_temperature,
            )
        return {"rel": opt.relation_weight * total}

    def _targets_of(self, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
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

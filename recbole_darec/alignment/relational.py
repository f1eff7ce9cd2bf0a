"""Relational: what is alike in the frozen profiles is kept alike among the embeddings.

No method of the papers, but a remedy for what was measured of DaRec (docs/results/xrec_yelp.md):
hardly any gradient of its structure terms reaches the backbone.  Here the structure is that of the
frozen profiles themselves.  No projection is trained, so nothing can collapse; and neighbours in
the profiles share, in training and in prediction, part of what each has learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.contract import TrainingStep
from recbole_darec.alignment.profile_neighbours import NeighbourOptions, ProfileNeighbours
from recbole_darec.settings.options import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Relational", "RelationalOptions"]


class RelationalOptions(NeighbourOptions):
    """Options of the relational aligner."""

    relation_weight: float = option(
        0.0, "Weight of the matching of relations; 0 leaves it and its cost out.", low=0.0
    )
    relation_sample: int = option(
        512, "Rows of each kind (users, items) whose relations are matched per step.", low=2
    )
    relation_temperature: float = option(
        0.5, "Temperature of the relations among the embeddings.", low=0.02
    )
    target_temperature: float = option(
        0.1, "Temperature of the relations among the profiles.", low=0.02
    )


class Relational(ProfileNeighbours):
    """Profile neighbours in the representation, and relations matched to the frozen profiles'."""

    Options: ClassVar[type] = RelationalOptions
    replayable = True
    options: RelationalOptions

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return ``rel``: the matching of relations within each kind, summed, times its weight."""
        import torch

        from recbole_darec.alignment.equations import relation_matching

        opt = self.options
        if opt.relation_weight == 0.0:
            return {}
        targets = self.targets_of(step.profiles, step.kinds)
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

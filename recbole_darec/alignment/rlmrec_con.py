"""RLMRec-Con: contrastive alignment of embeddings and projected profiles.

Ren et al., "Representation Learning with Large Language Models for Recommendation" (WWW 2024),
equations (16) and (18) and algorithm 1, with the normalisations of the released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from recbole_darec.alignment.contract import Aligner, TrainedRows, TrainingStep, Widths
from recbole_darec.settings.options import Options, option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RLMRecCon", "RLMRecConOptions"]

# Rows that are projected at a time where a whole kind is: what lies between the layers of one
# block is computed again in the backward pass.
_BLOCK = 16_384


class RLMRecConOptions(Options):
    """Options of RLMRec-Con."""

    kd_weight: float = option(0.01, "Weight of the alignment loss.", low=0.0)
    kd_temperature: float = option(0.2, "Temperature of the alignment's InfoNCE.", above=0.0)
    negatives: str = option(
        "batch",
        "Whose profiles one of the first kind (a user's) is told apart from: those of the batch, "
        "or, as RLMRec has it, of the whole kind, each projected per step.",
        choices=("batch", "all"),
    )
    kd_sample: int | str = option(
        "all",
        "Rows of each role in the batch (users, positive and negative items) that are aligned per "
        "step; all takes the whole batch, as RLMRec does.",
        low=2,
        or_word="all",
    )
    kd_hidden: list[int] | None = option(
        None,
        "Hidden widths of the projection; [] is linear, null RLMRec's one layer, halfway between "
        "the profiles' width and the backbone's.",
        low=1,
    )


class RLMRecCon(Aligner):
    """InfoNCE between each embedding of the batch and its projected profile.

    One MLP for rows of every kind, width -> (width + d) / 2 -> d.  A role's rows are told apart
    within the batch; those of the first kind's own role (the batch's users), with
    ``negatives=all``, within their whole kind.
    """

    Options: ClassVar[type] = RLMRecConOptions

    def __init__(self, options: RLMRecConOptions, widths: Widths) -> None:
        super().__init__(options, widths)
        from recbole_darec.alignment.projection import mlp

        self.options: RLMRecConOptions = options
        self.replayable = options.negatives != "all"  # these are projected once more, backwards
        halfway = [(widths.profile + widths.backbone) // 2]
        hidden = halfway if options.kd_hidden is None else options.kd_hidden
        self.modules = mlp(widths.profile, hidden, widths.backbone)

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return ``kd``: the three contrasts, each a mean over the batch, times the weight."""
        from recbole_darec.numerics import info_nce, unique_with_counts

        opt = self.options
        if opt.kd_weight == 0.0:
            return {}
        batch = {role: self._sample(ids) for role, ids in step.batch.items()}
        of_role = {role: unique_with_counts(ids) for role, ids in batch.items()}
        first, of_first = next(iter(step.kinds.items()))
        everyone = self._project_all(step, of_first) if opt.negatives == "all" else None
        # The first kind's rows of the batch have the role of its name.
        whole = None if everyone is None else first
        # A row that is in the batch in two roles is projected once.
        wanted = [rows for role, (rows, _) in of_role.items() if role != whole]
        projected, places = self._project(step, wanted)
        total = step.collaborative.new_zeros(())
        for role, (rows, counts) in of_role.items():
            if role == whole and everyone is not None:
                candidates, weights = everyone, None
                positives = everyone[rows - of_first.start]
            else:
                positives = candidates = projected[places.pop(0)]
                weights = counts  # a row is among the negatives as often as it is in the batch
            contrast = info_nce(
                step.collaborative[rows],
                positives,
                candidates,
                opt.kd_temperature,
                weights=counts,
                candidate_weights=weights,
            )
            total = total + contrast / max(1, len(batch[role]))
        assert not places
        return {"kd": opt.kd_weight * total}

    def rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor:
        """Return the projected profiles, which the loss has made point where the embeddings do.

        It compares directions alone: each gets the mean length of the trained rows.
        """
        from recbole_darec.numerics import unit_rows

        length = trained.rows.norm(dim=1).mean()
        projected: Tensor = self.modules(profiles.to(trained.rows.dtype))
        return unit_rows(projected) * length

    def _sample(self, ids: Tensor) -> Tensor:
        """Return the ids of the batch that this step aligns."""
        import torch

        size = self.options.kd_sample
        if isinstance(size, str) or size >= len(ids):
            return ids
        return ids[torch.randperm(len(ids), device=ids.device)[:size]]

    def _project(self, step: TrainingStep, wanted: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the projected profiles ``[n, d]`` of some rows, and where each list's stand."""
        import torch

        ids = torch.cat(wanted)
        if ids.device.type == "cpu":
            ids, places = torch.unique(ids, return_inverse=True)
        else:  # an accelerator would have to wait for the number of distinct rows
            places = torch.arange(len(ids), device=ids.device)
        rows = step.profiles[ids].to(step.collaborative.dtype)
        return self.modules(rows), list(torch.split(places, [len(one) for one in wanted]))

    def _project_all(self, step: TrainingStep, kind: slice) -> Tensor:
        """Return the projected profiles ``[n, d]`` of all rows of a kind."""
        import torch
        from torch.utils.checkpoint import checkpoint

        profiles = step.profiles[kind]
        dtype = step.collaborative.dtype
        if len(profiles) <= _BLOCK:
            projected: Tensor = self.modules(profiles.to(dtype))
            return projected
        blocks = [
            checkpoint(lambda rows: self.modules(rows.to(dtype)), block, use_reentrant=False)
            for block in torch.split(profiles, _BLOCK)
        ]
        return torch.cat(blocks)

"""Users and items that have a profile and took no part in training, ranked by a trained model.

The aligner has a way from profiles to rows that rank (``rank_profiles``), or the mean of the
trained rows that are nearest by profile stands for each: *profile kNN*, which reads nothing but the
profiles.  Where a model's scores are no inner products, that mean is taken of the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_darec.aligned.access import Tables
from recbole_darec.alignment.contract import TrainedRows
from recbole_darec.numerics.neighbours import nearest_among

__all__ = ["PROFILE_KNN", "NewRows", "WithNewItems", "find_new_rows"]

PROFILE_KNN = "profile kNN"


@dataclass(frozen=True)
class NewRows:
    """How some new users or items are ranked among the trained ones.

    Attributes:
        kind: ``user`` or ``item``.
        how: the aligner that says so, or :data:`PROFILE_KNN`.
        profiles: float ``[m, width]``.
        nearest: row numbers of the nearest trained ones by profile, padding counted, ``[m, k]``.
        vectors: rows whose inner product with the other kind's ranks, ``[m, d]``; None where the
            model's scores are no inner products.
        as_altered: whether an aligner that alters scores alters those of the new items, too.
    """

    kind: str
    how: str
    profiles: Tensor
    nearest: Tensor
    vectors: Tensor | None
    as_altered: bool = True

    def mean_of(self, scores: Tensor) -> Tensor:
        """Return the scores ``[b, m]`` of the new items as means of the nearest ones'.

        Args:
            scores: of the trained items, padding first, ``[b, n_items]``.
        """
        total = scores[:, self.nearest[:, 0]].clone()
        for column in self.nearest.T[1:]:
            total += scores[:, column]
        return total / self.nearest.shape[1]


@torch.no_grad()
def find_new_rows(
    model: Any,
    kind: str,
    profiles: Tensor,
    known: Tensor,
    trained: Tensor,
    vectors: Tables | None,
    *,
    n_nearest: int,
    content_only: bool = False,
) -> NewRows:
    """Find how new users or items are ranked.

    Args:
        model: an ``AlignedRecommender`` in evaluation.
        kind: ``user`` or ``item``.
        profiles: of the new ones, float ``[m, width]``.
        known: of all that the model has, in the order of its rows, without padding, ``[n, width]``.
        trained: which of those have a training interaction, bool ``[n]``.
        vectors: what :func:`~recbole_darec.aligned.vectors.backbone_vectors` returns.
        n_nearest: how many trained rows a mean is taken of.
        content_only: leave the aligner's way out.
    """
    device = torch.device(model.device)
    profiles, known, chosen = (
        tensor.to(device) for tensor in (profiles, known, trained.nonzero()[:, 0])
    )
    numbers, _ = nearest_among(profiles, known[chosen], n_nearest)
    nearest = chosen[numbers] + 1
    how, rows = PROFILE_KNN, None
    if vectors is not None:
        ranking = vectors[kind][1:][chosen]
        if model.aligner.does("rank_profiles") and not content_only:
            of_trained = TrainedRows(kind, ranking, known[chosen], n_nearest)
            rows = model.aligner.rank_profiles(profiles, of_trained)
            how = model.align_name
        else:
            rows = ranking[numbers].mean(1)
    altered = kind == "item" and not content_only and model.alters_scores()
    if altered and how == PROFILE_KNN:
        how = f"{model.align_name} over {PROFILE_KNN}"
    return NewRows(kind, how, profiles, nearest, rows, altered)


class WithNewItems:
    """Scores of a model's items with those of new ones behind them.

    Args:
        model: an ``AlignedRecommender`` in evaluation.
        new: the new items.
        vectors: as for :func:`find_new_rows`.
    """

    def __init__(self, model: Any, new: NewRows, vectors: Tables | None) -> None:
        self._model, self._new, self._vectors = model, new, vectors

    @torch.no_grad()
    def __call__(self, asked: Any) -> Tensor:
        """Return the scores ``[b, n_items + m]``, the padding's first, of a batch of users."""
        model, new = self._model, self._new
        if new.as_altered:
            altered: Tensor = model.altered_with_new(asked, self._of_new, new.profiles)
            return altered
        known = model.scores_of_all(asked)
        return torch.cat([known, self._of_new(asked, known).to(known.dtype)], dim=1)

    def _of_new(self, asked: Any, known: Tensor) -> Tensor:
        if self._vectors is None or self._new.vectors is None:
            return self._new.mean_of(known)
        return self._vectors["user"][asked[self._model.USER_ID]] @ self._new.vectors.T

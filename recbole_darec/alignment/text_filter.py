"""The text filter beside a backbone: a training-free model's scores, added when ranking.

Training stays as it is.  ``score = (1 - w) z(backbone) + w z(F)``, where z takes the mean and the
deviation of a user's scores over all items, and F is the filter of :mod:`recbole_darec.filters`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.contract import Aligner, Ranking, Widths
from recbole_darec.filters.options import OF_USER_PROFILES, FilterOptions
from recbole_darec.settings.options import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TextFilter", "TextFilterOptions"]

# The fusion weights that are tried first, and how far beside the best of them is looked again.
_COARSE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FINE = 0.1
# The weights that validation may leave out beside a backbone, together.
_DOUBTED = (OF_USER_PROFILES, ("low_pass",))


class TextFilterOptions(FilterOptions):
    """Options of the text filter."""

    filter_weight: float | None = option(
        None,
        "Weight w of the filter beside the backbone when ranking; 0 leaves the backbone's scores "
        "as they are, null finds it on the validation part after the training.",
        low=0.0,
        high=1.0,
    )
    filter_recency: float | None = option(
        None,
        "Share r of its weight that an item loses with each that its user took after it, over a "
        "sequential model.",
        low=0.0,
        below=1.0,
    )

    def fixed_weights(self) -> dict[str, float]:
        """Return the weights that are given, recency among them."""
        given = {} if self.filter_recency is None else {"recency": self.filter_recency}
        return {**super().fixed_weights(), **given}


class TextFilter(Aligner):
    """Adds the scores of a graph filter over co-occurrence and texts to the backbone's."""

    Options: ClassVar[type] = TextFilterOptions
    replayable = True
    takes_no_text: ClassVar[bool] = True
    options: TextFilterOptions

    def __init__(self, options: Any, widths: Widths) -> None:
        super().__init__(options, widths)
        import torch

        from recbole_darec.filters.self_tuning import SelfTuningFilter

        self.modules = SelfTuningFilter(options)
        self.modules.register_buffer("fusion", torch.tensor(options.filter_weight or 0.0))
        self._kept: Any = None  # z(F) of the users that were asked for
        self._new: Any = None  # the profiles of new items that were last asked for, and their F

    @classmethod
    def leaves_training(cls, options: Any) -> bool:
        """Tell whether w is found after the training: a given one takes part in validation."""
        return not options.filter_weight

    def check_ranking(self, ranking: Ranking) -> None:
        """Refuse what the weights cannot be found for; see :meth:`SelfTuningFilter.check`.

        Raises:
            OptionError: in one line.
        """
        if self.options.filter_weight != 0.0:
            self.modules.check(*_inputs(ranking), ranking.order)

    def leaves_scores(self) -> bool:
        """Tell whether w is 0, or is not found yet."""
        return float(self.modules.fusion) == 0.0

    def alter_scores(self, scores: Tensor, users: Tensor, ranking: Ranking) -> Tensor:
        """Return ``(1 - w) z(scores) + w z(F)``; with w = 0 the scores themselves."""
        import torch

        if self.leaves_scores():
            return scores
        found = scores.to(torch.float32, copy=True)
        self.alter_scores_in_place(found, users, ranking)
        return found

    def alter_scores_in_place(self, scores: Tensor, users: Tensor, ranking: Ranking) -> None:
        """Do what :meth:`alter_scores` does without another matrix of scores."""
        if not self.leaves_scores():
            scorer = self._scorer(users, scores.device, ranking)
            scorer.mix_into(scores, users, float(self.modules.fusion))

    def alter_new_scores(
        self, new: Tensor, scores: Tensor, users: Tensor, profiles: Tensor, ranking: Ranking
    ) -> Tensor:
        """Return ``(1 - w) z(new) + w z(F)``, z over the items that were trained.

        A filter whose weights leave the items' profiles out knows nothing of new ones: z(new) then.
        """
        import numpy as np
        import torch

        from recbole_darec.filters.equations import standardised
        from recbole_darec.filters.new_items import NewItemScores

        if self.leaves_scores():
            return new
        fitted, weight = self.fitted(ranking), float(self.modules.fusion)
        if not fitted.weights.reads_items:
            return standardised(scores.float(), new.float())
        if self._new is None or self._new[0] is not profiles:
            _, items, _ = _inputs(ranking)
            self._new = profiles, NewItemScores(fitted, items.cpu(), profiles.cpu())
        if users.dim() == 2:
            histories = self._scorer(users, new.device, ranking)
            known, parts = histories.scores(users), histories.parts
            rows = np.arange(len(users))
        else:
            rows, parts = users.cpu().numpy(), None
            known = torch.from_numpy(fitted.scores(rows)).to(new.device)
        ours = torch.from_numpy(self._new[1].scores(rows, parts))
        mixed = weight * standardised(known, ours.to(new.device))
        if weight < 1.0:
            mixed += (1.0 - weight) * standardised(scores.float(), new.float())
        return mixed

    def tune_scores(self, ranking: Ranking, validate: Callable[[], float]) -> None:
        """Find the weights within the training part, and w by the validation metric.

        With w it is found what stays of the filter: its low pass, since a backbone is one, too, and
        what reads user profiles, which may be written from the very training items that the weights
        were found on.  Of equally good weights w the smallest is taken, the one nearest
        to the backbone.
        """
        from logging import getLogger

        if self.options.filter_weight == 0.0:
            return
        self.fitted(ranking)
        if self.options.filter_weight is None:
            _, weight = self.modules.leave_out(_DOUBTED, lambda: self._best_fusion(validate))
            self.modules.fusion.fill_(weight)
        getLogger().info(
            f"text filter: filter_weight={float(self.modules.fusion):.3g} beside the backbone; "
            f"{self.modules.describe()}"
        )

    def chosen(self) -> dict[str, float]:
        """Return ``filter_weight``, and the filter's own weights once it was fitted."""
        weights = {f"filter_{name}": value for name, value in self.modules.found().items()}
        return {"filter_weight": float(self.modules.fusion), **weights}

    def _scorer(self, users: Tensor, device: Any, ranking: Ranking) -> Any:
        """Return what mixes z(F) of users, or of their histories, into scores on a device."""
        from recbole_darec.filters.histories import HistoryScores
        from recbole_darec.filters.kept import KeptScores

        fitted = self.fitted(ranking)
        if self._kept is None or (self._kept.fitted, self._kept.device) != (fitted, device):
            self._kept = None  # before there are others
            self._kept = (HistoryScores if users.dim() == 2 else KeptScores)(fitted, device)
        return self._kept

    def fitted(self, ranking: Ranking) -> Any:
        """Return the filter of this training part, made once."""
        return self.modules.fitted(*_inputs(ranking), ranking.found_before, ranking.order)

    def _best_fusion(self, validate: Callable[[], float]) -> tuple[float, float]:
        """Return the best validation score of this filter, and the weight w that has it."""
        found: dict[float, float] = {}
        for weight in _COARSE:
            found[weight] = self._validated(weight, validate)
        best = _best(found)
        for weight in (best - _FINE, best + _FINE):
            if 0.0 <= weight <= 1.0:
                found[round(weight, 1)] = self._validated(weight, validate)
        best = _best(found)
        return found[best], best

    def _validated(self, weight: float, validate: Callable[[], float]) -> float:
        self.modules.fusion.fill_(weight)
        return validate()


def _inputs(ranking: Ranking) -> tuple[Any, Tensor, Tensor]:
    """Return the interactions, the profiles of what is ranked, and of those it is ranked for."""
    *ranked_for, ranked = ranking.kinds.values()
    items = ranking.profiles[ranked]
    users = ranking.profiles[ranked_for[0]] if ranked_for else items[:0]
    return ranking.interactions, items, users


def _best(found: dict[float, float]) -> float:
    return min(found, key=lambda weight: (-found[weight], weight))

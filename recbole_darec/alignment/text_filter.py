"""The text filter beside a backbone: a training-free model's scores, added when ranking.

Training stays as it is.  ``score = (1 - w) z(backbone) + w z(F)``, where z takes the mean and the
deviation of a user's scores over all items, and F is the filter of :mod:`recbole_darec.filters`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.contract import Aligner, Ranking, Widths
from recbole_darec.filters.options import FilterOptions
from recbole_darec.settings.options import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TextFilter", "TextFilterOptions"]

# The fusion weights that are tried first, and how far beside the best of them is looked again.
_COARSE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FINE = 0.1


class TextFilterOptions(FilterOptions):
    """Options of the text filter."""

    filter_weight: float | None = option(
        None,
        "Weight w of the filter beside the backbone when ranking; 0 leaves the backbone's scores "
        "as they are, null finds it on the validation part after the training.",
        low=0.0,
        high=1.0,
    )


class TextFilter(Aligner):
    """Adds the scores of a graph filter over co-occurrence and texts to the backbone's."""

    Options: ClassVar[type] = TextFilterOptions
    takes_no_text: ClassVar[bool] = True
    options: TextFilterOptions

    def __init__(self, options: Any, widths: Widths) -> None:
        super().__init__(options, widths)
        import torch

        from recbole_darec.filters.self_tuning import SelfTuningFilter

        self.modules = SelfTuningFilter(options)
        self.modules.register_buffer("fusion", torch.tensor(options.filter_weight or 0.0))

    def check_ranking(self, ranking: Ranking) -> None:
        """Refuse what the weights cannot be found for; see :meth:`SelfTuningFilter.check`.

        Raises:
            OptionError: in one line.
        """
        if self.options.filter_weight != 0.0:
            self.modules.check(*_inputs(ranking))

    def leaves_scores(self) -> bool:
        """Tell whether w is 0, or is not found yet."""
        return float(self.modules.fusion) == 0.0

    def alter_scores(self, scores: Tensor, users: Tensor, ranking: Ranking) -> Tensor:
        """Return ``(1 - w) z(scores) + w z(F)``; with w = 0 the scores themselves."""
        import torch

        from recbole_darec.filters.equations import standardised

        if self.leaves_scores():
            return scores
        weight = float(self.modules.fusion)
        filtered = torch.from_numpy(self.fitted(ranking).scores(users.cpu().numpy()))
        mixed = weight * standardised(filtered.to(scores.device))
        if weight < 1.0:
            mixed += (1.0 - weight) * standardised(scores.float())
        return mixed

    def tune_scores(self, ranking: Ranking, validate: Callable[[], float]) -> None:
        """Find the weights within the training part, and w by the validation metric.

        Of equally good weights w the smallest is taken: the one nearest to the backbone.
        """
        from logging import getLogger

        if self.options.filter_weight == 0.0:
            return
        self.fitted(ranking)
        if self.options.filter_weight is None:
            found: dict[float, float] = {}
            for weight in _COARSE:
                found[weight] = self._validated(weight, validate)
            best = _best(found)
            for weight in (best - _FINE, best + _FINE):
                if 0.0 <= weight <= 1.0:
                    found[round(weight, 1)] = self._validated(weight, validate)
            self.modules.fusion.fill_(_best(found))
        getLogger().info(
            f"text filter: filter_weight={float(self.modules.fusion):.3g} beside the backbone; "
            f"{self.modules.describe()}"
        )

    def fitted(self, ranking: Ranking) -> Any:
        """Return the filter of this training part, made once."""
        return self.modules.fitted(*_inputs(ranking))

    def _validated(self, weight: float, validate: Callable[[], float]) -> float:
        self.modules.fusion.fill_(weight)
        return validate()


def _inputs(ranking: Ranking) -> tuple[Any, Tensor, Tensor]:
    """Return the interactions, the profiles of what is ranked, and of those it is ranked for."""
    kinds = list(ranking.kinds.values())
    return ranking.interactions, ranking.profiles[kinds[-1]], ranking.profiles[kinds[0]]


def _best(found: dict[float, float]) -> float:
    return min(found, key=lambda weight: (-found[weight], weight))

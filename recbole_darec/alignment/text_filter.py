"""The text filter beside a backbone: a training-free model's scores, added when ranking.

Training stays as it is.  ``score = (1 - w) z(backbone) + w z(F)``, where z takes the mean and the
deviation of a user's scores over all items, and F is the filter of :mod:`recbole_darec.filters`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.contract import Aligner, Ranking, Widths
from recbole_darec.errors import OptionError
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
        from torch import nn

        from recbole_darec.filters.fitted import FilterWeights

        # Buffers, so that a checkpoint ranks as the run did without finding them again.
        self.modules = nn.Module()
        self.modules.register_buffer("weights", torch.zeros(len(vars(FilterWeights()))))
        self.modules.register_buffer("weights_known", torch.zeros((), dtype=torch.bool))
        self.modules.register_buffer("fusion", torch.tensor(options.filter_weight or 0.0))
        self._fitted: Any = None

    @classmethod
    def leaves_training(cls, options: Any) -> bool:
        """Tell whether w is found after the training: a given one takes part in validation."""
        return not options.filter_weight

    def check_ranking(self, ranking: Ranking) -> None:
        """Refuse what the weights cannot be found for.

        Raises:
            OptionError: a weight of a text is given and there are no profiles, or no user has three
                training items to hold one out of.
        """
        import numpy as np

        from recbole_darec.filters.tuning import FEWEST, GRID

        given = self.options.fixed_weights()
        if not bool((ranking.profiles != 0).any()):
            for name in ("text", "match", "user_text"):
                if given.get(name):
                    raise OptionError(
                        f"filter_{name}={given[name]:g} is a weight of profiles, and there are "
                        "none: leave it out, or bring profiles in"
                    )
        counts = np.diff(ranking.interactions.indptr)
        if set(given) != set(GRID) and not (counts >= FEWEST).any():
            raise OptionError(
                f"the filter's weights are found on users with {FEWEST} training items or more, "
                "and there are none: give all of " + ", ".join(f"filter_{name}" for name in GRID)
            )

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

        fitted = self.fitted(ranking)
        if self.options.filter_weight is None:
            found: dict[float, float] = {}
            for weight in _COARSE:
                found[weight] = self._validated(weight, validate)
            best = _best(found)
            for weight in (best - _FINE, best + _FINE):
                if 0.0 <= weight <= 1.0:
                    found[round(weight, 1)] = self._validated(weight, validate)
            self.modules.fusion.fill_(_best(found))
        weights = ", ".join(f"{name}={value:g}" for name, value in vars(fitted.weights).items())
        getLogger().info(
            f"text filter: filter_weight={float(self.modules.fusion):.3g} beside the backbone; "
            f"{weights}"
        )

    def chosen(self) -> dict[str, float]:
        """Return ``filter_weight``, and the filter's own weights once it was fitted."""
        found = {"filter_weight": float(self.modules.fusion)}
        if self._fitted is not None:
            weights = vars(self._fitted.weights)
            found.update((f"filter_{name}", float(value)) for name, value in weights.items())
        return found

    def fitted(self, ranking: Ranking) -> Any:
        """Return the filter of this training part, made once."""
        if self._fitted is None:
            from recbole_darec.filters.fitted import FilterInputs, FilterWeights, FittedFilter
            from recbole_darec.filters.tuning import tuned_weights

            users, items = (ranking.profiles[rows] for rows in _ends(ranking))
            inputs = FilterInputs.of(
                ranking.interactions,
                items,
                users,
                width=self.options.filter_width,
                n_neighbours=self.options.filter_neighbours,
            )
            if not bool(self.modules.weights_known):
                found = tuned_weights(inputs, self.options.fixed_weights())
                values = self.modules.weights.new_tensor(list(vars(found).values()))
                self.modules.weights.copy_(values)
                self.modules.weights_known.fill_(True)
            # Through float32 in either case, so that a checkpoint ranks to the bit.
            weights = FilterWeights(*self.modules.weights.tolist())
            self._fitted = FittedFilter(inputs, weights)
        return self._fitted

    def _validated(self, weight: float, validate: Callable[[], float]) -> float:
        self.modules.fusion.fill_(weight)
        return validate()


def _ends(ranking: Ranking) -> tuple[slice, slice]:
    """Return the rows of those that are ranked for, and of what is ranked."""
    kinds = list(ranking.kinds.values())
    return kinds[0], kinds[-1]


def _best(found: dict[float, float]) -> float:
    return min(found, key=lambda weight: (-found[weight], weight))

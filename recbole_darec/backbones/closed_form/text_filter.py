"""The text filter as a recommender of its own: fitted in seconds, nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from recbole_darec.backbones.closed_form.base import ClosedFormRecommender
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.options import OF_USER_PROFILES, FilterOptions
from recbole_darec.filters.self_tuning import SelfTuningFilter
from recbole_darec.settings.options import options_from_config

__all__ = ["TextFilter", "TextFilterModelOptions"]


class TextFilterModelOptions(FilterOptions):
    """The filter's own; there is one epoch, in which nothing is trained."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"epochs": 1}


class TextFilter(ClosedFormRecommender):
    """A graph filter over co-occurrence and texts, see :mod:`recbole_darec.filters`."""

    Options: ClassVar[type] = TextFilterModelOptions

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.filter = SelfTuningFilter(options_from_config(TextFilterModelOptions, config))

    def check(self) -> None:
        """Refuse what the weights cannot be found for; see :meth:`SelfTuningFilter.check`."""
        self.filter.check(self.interactions, self.item_profiles, self.user_profiles)

    def scores_of(self, users: np.ndarray) -> Tensor:
        """Return the rows F of some users, float32 ``[b, n_items]``, on the model's device."""
        return self._fitted().on(self.nothing.device).scores(users)

    def tune_by_validation(self, validate: Callable[[], float]) -> None:
        """Leave out what reads user profiles where validation is no worse without it.

        Args:
            validate: evaluates the model as it ranks now; greater is better.
        """
        self._fitted()
        self.filter.leave_out((OF_USER_PROFILES,), lambda: (validate(),))
        getLogger().info(f"text filter: {self.filter.describe()}")

    def _fitted(self) -> FittedFilter:
        return self.filter.fitted(
            self.interactions,
            self.item_profiles,
            self.user_profiles,
            found_before=getattr(self, "found_before", None),  # of a run
        )

"""GF-CF (Shen et al., CIKM 2021): graph filters over co-occurrence, nothing is trained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recbole_darec.backbones.closed_form.base import ClosedFormRecommender
from recbole_darec.settings.options import Options, option, options_from_config

__all__ = ["GFCF", "GFCFOptions"]


class GFCFOptions(Options):
    """The low pass beside the linear filter; there is one epoch, in which nothing is trained."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"epochs": 1}

    low_pass_weight: float = option(
        0.3, "Weight alpha of the ideal low pass beside the linear filter.", low=0.0
    )
    low_pass_width: int = option(
        256, "Leading singular vectors that the low pass lets through.", low=1
    )


class GFCF(ClosedFormRecommender):
    """Ranks by :class:`~recbole_darec.filters.gf_cf.GraphFilter`; reads no profiles."""

    Options: ClassVar[type] = GFCFOptions
    reads_profiles: ClassVar[bool] = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._options = options_from_config(GFCFOptions, config)
        self._filter: Any = None

    def scores_of(self, users: np.ndarray) -> np.ndarray:
        """Return the scores of some users, float32 ``[b, n_items]``."""
        from recbole_darec.filters.gf_cf import GraphFilter

        if self._filter is None:
            self._filter = GraphFilter(
                self.interactions,
                weight=self._options.low_pass_weight,
                width=self._options.low_pass_width,
            )
        return np.asarray(self._filter.scores(users))

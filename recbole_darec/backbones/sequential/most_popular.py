"""MostPopular: the items that are most often in training, the same for everyone."""

from __future__ import annotations

from typing import Any, ClassVar

from recbole_darec.backbones.sequential.counted import CountedRecommender
from recbole_darec.settings.options import Options

__all__ = ["MostPopular", "MostPopularOptions"]


class MostPopularOptions(Options):
    """MostPopular has no options of its own; there is one epoch, in which nothing is trained."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"epochs": 1}


class MostPopular(CountedRecommender):
    """Ranks by popularity alone."""

    Options: ClassVar[type] = MostPopularOptions

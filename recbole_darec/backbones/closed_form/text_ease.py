"""EASE with a text prior (L3AE, CIKM 2025), in closed form."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recbole_darec.backbones.closed_form.base import ClosedFormRecommender
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option, options_from_config

__all__ = ["TextEASE", "TextEASEOptions"]


class TextEASEOptions(Options):
    """The text's part beside RecBole's ``reg_weight``, which is EASE's own; one epoch, no steps."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"epochs": 1, "reg_weight": 100.0}

    text_share: float = option(
        0.5,
        "Share of reg_weight that pulls to the texts' own EASE instead of to zero; 0 is EASE.",
        low=0.0,
        high=1.0,
    )
    text_reg_weight: float = option(
        1.0, "L2 weight of the texts' own EASE, over profiles of length 1.", above=0.0
    )


class TextEASE(ClosedFormRecommender):
    """Item weights B ``[n_items, n_items]`` by one inverse; :func:`~recbole_darec.filters.ease`."""

    Options: ClassVar[type] = TextEASEOptions

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._options = options_from_config(TextEASEOptions, config)
        self._mu = float(config["reg_weight"])
        self._weights: np.ndarray | None = None

    def check(self) -> None:
        """Refuse a matrix that does not fit into the memory, and a weight of 0.

        Raises:
            OptionError: in one line, with the size.
        """
        import psutil  # type: ignore[import-untyped]

        from recbole_darec.filters.ease import ease_bytes

        if self._mu <= 0.0:
            raise OptionError(f"reg_weight={self._mu:g} must be above 0 for TextEASE")
        n_items = self.interactions.shape[1]
        needed = ease_bytes(n_items, self._has_text())
        free = psutil.virtual_memory().available
        if needed > free:
            raise OptionError(
                f"TextEASE of {n_items:,} items takes {needed / 2**30:.1f} GiB, and "
                f"{free / 2**30:.1f} GiB are free: take TextFilter, or fewer items "
                "(item_inter_num_interval)"
            )

    def scores_of(self, users: np.ndarray) -> np.ndarray:
        """Return ``X B`` of some users, float32 ``[b, n_items]``."""
        if self._weights is None:
            self._weights = self._fitted().astype(np.float32)
        return np.asarray(self.interactions[users] @ self._weights)

    def _has_text(self) -> bool:
        return self._options.text_share > 0.0 and bool((self.item_profiles != 0).any())

    def _fitted(self) -> np.ndarray:
        from recbole_darec.filters.ease import ease, text_ease
        from recbole_darec.numerics.rows import unit_rows

        gram = (self.interactions.T @ self.interactions).toarray()
        if not self._has_text():
            return ease(gram, self._mu)
        return text_ease(
            gram,
            unit_rows(self.item_profiles.float()).numpy(),
            mu=self._mu,
            kappa=self._options.text_share * self._mu,
            regularisation=self._options.text_reg_weight,
        )

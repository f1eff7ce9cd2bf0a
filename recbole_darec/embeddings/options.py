"""Where profile embeddings come from, and what is done to them."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_darec.embeddings.components import WHITENINGS
from recbole_darec.embeddings.controls import CONTROLS
from recbole_darec.embeddings.lookup import MISSING
from recbole_darec.errors import OptionError

__all__ = ["EmbeddingOptions"]


@dataclass(frozen=True)
class EmbeddingOptions:
    """Where profile embeddings come from and what is done to them.

    Attributes:
        user_file: the users' file, instead of ``<dataset>.useremb``.
        item_file: the items' file, instead of ``<dataset>.itememb``.
        missing: what an id without a profile embedding gets: ``error``, ``mean`` or ``zero``.
        control: ``none``, ``shuffle`` or ``random``; see ``controls``.
        control_seed: seed of the control, not below 0.
        expected_width: number of columns that the files must have; None takes any.
        components: number of principal directions that the rows are reduced to; None keeps all.
        whiten: ``none``, ``pca`` or ``zca``; see ``components``.
    """

    user_file: str | None = None
    item_file: str | None = None
    missing: str = "error"
    control: str = "none"
    control_seed: int = 0
    expected_width: int | None = None
    components: int | None = None
    whiten: str = "none"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("missing_profile", self.missing, MISSING),
            ("profile_control", self.control, CONTROLS),
            ("profile_whiten", self.whiten, WHITENINGS),
        ):
            if value not in choices:
                raise OptionError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if self.control_seed < 0:
            raise OptionError(f"profile_control_seed must not be negative: {self.control_seed}")
        if self.expected_width is not None and self.expected_width < 1:
            raise OptionError(f"profile_width must be at least 1: {self.expected_width}")

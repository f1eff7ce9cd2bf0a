from __future__ import annotations

from alignment.equations.conftest import _seeded

__all__ = ["_seeded"]  # the same numbers for each test

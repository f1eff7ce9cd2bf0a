"""The backbone alone, on the same code path as an aligned one."""

from __future__ import annotations

from typing import ClassVar

from recbole_darec.alignment.contract import Aligner

__all__ = ["NoAlignment"]


class NoAlignment(Aligner):
    """Adds nothing: what differs between this and another aligner is that aligner's doing."""

    needs_profiles: ClassVar[bool] = False
    replayable = True

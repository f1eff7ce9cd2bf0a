"""SMEM: PAD's three experts without its alignment: phases 1 and 3.

PAD (SIGIR 2025, section 4.1) compares itself with it.
"""

from __future__ import annotations

from typing import ClassVar

from recbole_darec.alignment.expert_aligner import PRETRAIN
from recbole_darec.alignment.pad import ThreeExperts, ThreeExpertsOptions
from recbole_darec.alignment.phases import Phase

__all__ = ["SMEM"]


class SMEM(ThreeExperts):
    """The fused expert starts from phase 1's ids, as PAD's aligned one does."""

    Options: ClassVar[type] = ThreeExpertsOptions

    @classmethod
    def phases(cls, options: ThreeExpertsOptions) -> tuple[Phase, ...]:
        """Return PAD's phases 1 and 3."""
        return PRETRAIN, cls.last_phase(options, (("id", "align"),))

"""Relational-Con: profile neighbours in the representation, and RLMRec-Con's contrast of it.

No method of the papers (docs/results/xrec_yelp.md has how it was chosen).  The neighbours carry
what the profiles say into the representation, and the contrast with the projected profiles spreads
it; together they do more than either alone.
"""

from __future__ import annotations

from typing import ClassVar

from recbole_darec.alignment.profile_neighbours import NeighbourOptions, ProfileNeighbours
from recbole_darec.alignment.rlmrec_con import RLMRecCon, RLMRecConOptions

__all__ = ["RelationalCon", "RelationalConOptions"]


class RelationalConOptions(RLMRecConOptions, NeighbourOptions):
    """Options of Relational-Con: those of the neighbours and of RLMRec-Con."""


class RelationalCon(ProfileNeighbours, RLMRecCon):
    """RLMRec-Con's losses, over embeddings to which the profile neighbours' mean is added."""

    Options: ClassVar[type] = RelationalConOptions
    options: RelationalConOptions

"""Which aligner stands behind the name that ``--align`` takes: one line each."""

from __future__ import annotations

import importlib
from typing import Any

from recbole_darec.errors import OptionError, nearest

__all__ = ["ALIGNERS", "aligner_class", "aligner_names"]

ALIGNERS: dict[str, str] = {
    "none": "recbole_darec.alignment.none:NoAlignment",
    "darec": "recbole_darec.alignment.darec:DaRec",
    "rlmrec_con": "recbole_darec.alignment.rlmrec_con:RLMRecCon",
    "rlmrec_gen": "recbole_darec.alignment.rlmrec_gen:RLMRecGen",
    "kar": "recbole_darec.alignment.kar:KAR",
    "relational": "recbole_darec.alignment.relational:Relational",
    "relational_con": "recbole_darec.alignment.relational_con:RelationalCon",
}


def aligner_names() -> list[str]:
    """Return every name that ``--align`` takes."""
    return list(ALIGNERS)


def aligner_class(name: str) -> Any:
    """Import and return the aligner of this name (the module imports no torch by itself).

    Raises:
        OptionError: no aligner has this name.
    """
    if name not in ALIGNERS:
        raise OptionError(
            f"unknown align '{name}'{nearest(name, ALIGNERS)}; --align takes {', '.join(ALIGNERS)}"
        )
    module, _, attribute = ALIGNERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)

"""Which aligner stands behind the name that ``--align`` takes: one line each."""

from __future__ import annotations

import importlib
from typing import Any

from recbole_darec.errors import OptionError, nearest
from recbole_darec.settings.options import Options

__all__ = ["ALIGNERS", "aligner_class", "aligner_names", "aligner_options", "resolve_aligner"]

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


def resolve_aligner(name: str) -> str:
    """Return the name itself.

    Raises:
        OptionError: no aligner has this name.
    """
    if name not in ALIGNERS:
        raise OptionError(
            f"unknown align '{name}'{nearest(name, ALIGNERS)}; --align takes {', '.join(ALIGNERS)}"
        )
    return name


def aligner_options(name: str) -> type[Options]:
    """Return the class of an aligner's options."""
    options: type[Options] = aligner_class(name).Options
    return options


def aligner_class(name: str) -> Any:
    """Import and return the aligner of this name (the module imports no torch by itself).

    Raises:
        OptionError: no aligner has this name.
    """
    resolve_aligner(name)
    module, _, attribute = ALIGNERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)

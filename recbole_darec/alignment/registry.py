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
    "pad": "recbole_darec.alignment.pad:PAD",
    "smem": "recbole_darec.alignment.smem:SMEM",
    "hybrid": "recbole_darec.alignment.hybrid:Hybrid",
    "morec": "recbole_darec.alignment.morec:MoRec",
    "ctrl": "recbole_darec.alignment.ctrl:CTRL",
    "make": "recbole_darec.alignment.make:MAKE",
    "disco": "recbole_darec.alignment.disco:DisCo",
    "text_filter": "recbole_darec.alignment.text_filter:TextFilter",
}


def aligner_names() -> list[str]:
    """Return every name that ``--align`` takes."""
    return list(ALIGNERS)


def resolve_aligner(name: str) -> str:
    """Return the name itself: that of one aligner, or of several joined by ``+``.

    Raises:
        OptionError: no aligner has this name, or the joined ones clash.
    """
    parts = name.split("+")
    for part in parts:
        if part not in ALIGNERS:
            raise OptionError(
                f"unknown align '{part}'{nearest(part, ALIGNERS)}; --align takes "
                f"{', '.join(ALIGNERS)}, or several of them joined by +"
            )
    if len(parts) > 1:
        from recbole_darec.alignment.joined import check_joined

        check_joined({part: aligner_class(part) for part in parts}, name)
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
    if "+" in name:
        from recbole_darec.alignment.joined import joined_class

        return joined_class({part: aligner_class(part) for part in name.split("+")})
    module, _, attribute = ALIGNERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)

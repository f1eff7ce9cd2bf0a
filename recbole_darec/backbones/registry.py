"""Which class stands behind a backbone's name.

A backbone written in this package is one line here.  Every other name is looked up among RecBole's
general recommenders, so that a plain RecBole model works without being listed.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from recbole_darec.backbones.options import (
    AutoCFOptions,
    DCCFOptions,
    GCCFOptions,
    GraphOptions,
    NCLOptions,
    SGLOptions,
    SimGCLOptions,
)
from recbole_darec.errors import OptionError, nearest
from recbole_darec.resources import recbole_dir

__all__ = ["BACKBONES", "BackboneSpec", "backbone_class", "backbone_names", "resolve_backbone"]


@dataclass(frozen=True)
class BackboneSpec:
    """One backbone of this package: where its class is and which options it takes."""

    location: str
    options: type | None = None


BACKBONES: dict[str, BackboneSpec] = {
    "AutoCF": BackboneSpec("recbole_darec.backbones.autocf:AutoCF", AutoCFOptions),
    "DCCF": BackboneSpec("recbole_darec.backbones.dccf:DCCF", DCCFOptions),
    "GCCF": BackboneSpec("recbole_darec.backbones.gccf:GCCF", GCCFOptions),
    "LightGCN": BackboneSpec("recbole_darec.backbones.lightgcn:LightGCN", GraphOptions),
    "NCL": BackboneSpec("recbole_darec.backbones.ncl:NCL", NCLOptions),
    "SGL": BackboneSpec("recbole_darec.backbones.sgl:SGL", SGLOptions),
    "SimGCL": BackboneSpec("recbole_darec.backbones.simgcl:SimGCL", SimGCLOptions),
}


@cache
def _recbole_models(family: str) -> dict[str, str]:
    """Map class names of one RecBole model family to modules, read from the sources' text."""
    found = {}
    for path in sorted((recbole_dir() / "model" / family).glob("[a-z]*.py")):
        for name in re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), re.M):
            if name.lower() == path.stem:
                found[name] = f"recbole.model.{family}.{path.stem}"
    return found


def backbone_names() -> list[str]:
    """Return every name that ``--model`` takes."""
    return sorted({*BACKBONES, *_recbole_models("general_recommender")})


def resolve_backbone(name: str) -> str:
    """Return the exact spelling of a backbone's name.

    Raises:
        OptionError: no general recommender has this name.
    """
    names = backbone_names()
    by_lower = {n.lower(): n for n in names}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    for family in ("sequential", "context_aware", "knowledge_aware", "exlib"):
        if name.lower() in {n.lower() for n in _recbole_models(f"{family}_recommender")}:
            raise OptionError(
                f"model '{name}' is RecBole's {family.replace('_', '-')} kind; --model takes a "
                "general recommender that learns user and item embeddings, such as LightGCN"
            )
    raise OptionError(
        f"unknown model '{name}'{nearest(name, names)}; --model takes LightGCN or another "
        "general recommender of RecBole"
    )


def backbone_options(name: str) -> type | None:
    """Return the option group of a backbone of this package, if it has one."""
    spec = BACKBONES.get(name)
    return spec.options if spec else None


def backbone_class(name: str) -> Any:
    """Import and return the class of a backbone (ours before RecBole's)."""
    if name in BACKBONES:
        module, _, attribute = BACKBONES[name].location.partition(":")
    else:
        module, attribute = _recbole_models("general_recommender")[name], name
    return getattr(importlib.import_module(module), attribute)

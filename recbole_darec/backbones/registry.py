"""Which class stands behind a backbone's name.

A backbone written in this package is one line here.  Every other name is looked up among RecBole's
general and sequential recommenders, so that a plain RecBole model works without being listed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

from recbole_darec.environment import recbole_dir
from recbole_darec.errors import OptionError, nearest
from recbole_darec.settings.options import Options

__all__ = [
    "BACKBONES",
    "backbone_class",
    "backbone_family",
    "backbone_names",
    "backbone_options",
    "ranks_alone",
    "read_options",
    "reads_profiles",
    "resolve_backbone",
]

BACKBONES: dict[str, str] = {
    "AutoCF": "recbole_darec.backbones.autocf:AutoCF",
    "DCCF": "recbole_darec.backbones.dccf:DCCF",
    "GCCF": "recbole_darec.backbones.gccf:GCCF",
    "GFCF": "recbole_darec.backbones.gf_cf:GFCF",
    "LightGCN": "recbole_darec.backbones.lightgcn:LightGCN",
    "NCL": "recbole_darec.backbones.ncl:NCL",
    "SGL": "recbole_darec.backbones.sgl:SGL",
    "SimGCL": "recbole_darec.backbones.simgcl:SimGCL",
    "TextEASE": "recbole_darec.backbones.closed_form.text_ease:TextEASE",
    "TextFilter": "recbole_darec.backbones.closed_form.text_filter:TextFilter",
    "MarkovChain": "recbole_darec.backbones.sequential.markov_chain:MarkovChain",
    "MostPopular": "recbole_darec.backbones.sequential.most_popular:MostPopular",
    "SequenceKNN": "recbole_darec.backbones.sequential.sequence_knn:SequenceKNN",
}

# What a backbone's options may be made of: imported in a few milliseconds, unlike torch.
_LIGHT = re.compile(
    r"(__future__|typing|collections\.abc|math"
    r"|recbole_darec\.(errors|settings\.\w+|backbones\.options|filters\.options))$"
)


# RecBole's families whose models are backbones here.
_FAMILIES = ("general", "sequential")
_SEQUENTIAL = "recbole_darec.backbones.sequential."  # where ours of that family are
_CLOSED_FORM = "recbole_darec.backbones.closed_form."  # where ours are that read profiles
# RecBole's sequential models whose loss is the ranking loss and no more (Caser adds L2 terms): with
# align=none they train, to the bit, as in a method's plain phase.
_RANK_ALONE = ("GRU4Rec", "SASRec")


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
    return sorted({*BACKBONES, *(name for family in _FAMILIES for name in _of_family(family))})


def backbone_family(name: str, own_class: type | None = None) -> str:
    """Return whether a backbone is ``"general"`` or ``"sequential"``.

    Args:
        name: its exact name.
        own_class: a caller's own class; RecBole's models say what they are in ``type``.
    """
    if own_class is not None:
        kind = str(getattr(getattr(own_class, "type", None), "name", "")).lower()
        return kind if kind in _FAMILIES else "general"
    if name in BACKBONES:
        return "sequential" if BACKBONES[name].startswith(_SEQUENTIAL) else "general"
    return "sequential" if name in _of_family("sequential") else "general"


def reads_profiles(name: str) -> bool:
    """Tell whether a backbone reads profiles by itself, whatever its aligner."""
    return BACKBONES.get(name, "").startswith(_CLOSED_FORM)


def ranks_alone(name: str) -> bool:
    """Tell whether the loss of a sequential backbone is known to be the ranking loss alone."""
    return name in _RANK_ALONE


def _of_family(family: str) -> dict[str, str]:
    return _recbole_models(f"{family}_recommender")


def resolve_backbone(name: str) -> str:
    """Return the exact spelling of a backbone's name.

    Raises:
        OptionError: no general or sequential recommender has this name.
    """
    names = backbone_names()
    by_lower = {n.lower(): n for n in names}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    for family in ("context_aware", "knowledge_aware", "exlib"):
        if name.lower() in {n.lower() for n in _of_family(family)}:
            raise OptionError(
                f"model '{name}' is RecBole's {family.replace('_', '-')} kind; --model takes a "
                "general recommender, such as LightGCN, or a sequential one, such as SASRec"
            )
    raise OptionError(
        f"unknown model '{name}'{nearest(name, names)}; --model takes LightGCN, SASRec or another "
        "general or sequential recommender of RecBole"
    )


def backbone_options(name: str) -> type[Options] | None:
    """Return the class of the options of a backbone of this package, None for one of RecBole's."""
    return read_options(BACKBONES[name]) if name in BACKBONES else None


def read_options(location: str) -> type[Options]:
    """Return the ``Options`` of a backbone's class, without importing torch and RecBole with it.

    The backbone's file is read, and of its statements only those are run that its options are made
    of: light imports, and the classes that derive from :class:`Options`.  A test holds the class
    that comes out to the one that an import gives.

    Args:
        location: as in ``BACKBONES``, ``"package.module:Class"``.

    Raises:
        LookupError: the class names no ``Options`` of its own.
    """
    name, _, attribute = location.partition(":")
    if name in sys.modules:
        loaded: type[Options] = getattr(sys.modules[name], attribute).Options
        return loaded
    return _options_of_file(name, attribute)


@cache
def _options_of_file(name: str, attribute: str) -> type[Options]:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    light = types.ModuleType(f"{name}:options")
    sys.modules[light.__name__] = light  # where pydantic looks annotations up
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and _LIGHT.match(str(node.module)):
            _run(node, light, spec.origin)
        elif isinstance(node, ast.ClassDef) and _derives_from_options(node, light):
            _run(node, light, spec.origin)
            getattr(light, node.name).__module__ = name
        elif isinstance(node, ast.ClassDef) and node.name == attribute:
            for line in node.body:
                if ast.unparse(line).startswith("Options: ") and isinstance(line, ast.AnnAssign):
                    options: type[Options] = getattr(light, ast.unparse(line.value or line.target))
                    return options
    raise LookupError(f"{name}:{attribute} has no line 'Options: ClassVar[type] = …'")


def _derives_from_options(node: ast.ClassDef, light: types.ModuleType) -> bool:
    bases = [getattr(light, base.id, None) for base in node.bases if isinstance(base, ast.Name)]
    return any(isinstance(base, type) and issubclass(base, Options) for base in bases)


def _run(node: ast.stmt, light: types.ModuleType, file: str) -> None:
    exec(compile(ast.Module([node], []), file, "exec"), light.__dict__)


def backbone_class(name: str) -> Any:
    """Import and return the class of a backbone (ours before RecBole's)."""
    if name in BACKBONES:
        module, _, attribute = BACKBONES[name].partition(":")
    else:
        module, attribute = _of_family(backbone_family(name))[name], name
    return getattr(importlib.import_module(module), attribute)

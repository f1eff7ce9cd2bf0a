"""RecBole's models and their options: of each, the type and the bounds that its default tells.

RecBole reads an option of a model as it comes, and ends in a traceback of the layer that cannot be
made of it.  Its property files have no types, but a default of each, and a model's source compares
its words with those that it knows.
"""

from __future__ import annotations

import re
import types
import typing
from functools import cache
from typing import Any

from pydantic import create_model

from recbole_darec.environment import recbole_dir
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option, option_names
from recbole_darec.settings.recbole_options import CheckedRecBoleOptions
from recbole_darec.settings.values import read_yaml

__all__ = ["recbole_model_keys", "recbole_model_options"]

# What RecBole's layers know, and has no other check.
_ACTIVATIONS = ("gelu", "relu", "swish", "tanh", "sigmoid")
# Defaults that are whole and need not be: dropout_prob: 0, negative_weight: 10.
_FRACTION = re.compile(r"prob|(^|_)ratio|weight$|_max$|_factor$|resolution")
_SIZE = re.compile(r"size|dim|heads$|num_layers|kernel|channels|strides|dilations")
_PROBABILITY = re.compile(r"(^|_)(prob|probs|dropout)$")
_ABOVE_ZERO = re.compile(r"(^|_)(tau|temp|temperature|eps)$")


@cache
def recbole_model_keys(model: str) -> frozenset[str]:
    """Return the options that RecBole's property file of a model has; none for another model."""
    return frozenset(_content(model))


@cache
def recbole_model_options(model: str) -> type[Options]:
    """Return the options of RecBole's model that are declared nowhere, each with its type.

    An option whose default is empty has none, and is taken as it comes.
    """
    declared = option_names(CheckedRecBoleOptions)
    fields: dict[str, Any] = {}
    for name, default in _content(model).items():
        if not name.isidentifier():  # DiffRec's time-aware
            continue
        kind = _type(name, default)
        # HGN's reg_weight is a list, where other models' are numbers.
        if kind is not None and (name not in declared or isinstance(default, list)):
            made = option(default, f"Of RecBole's {model}.", **_bounds(model, name, kind, default))
            fields[name] = (kind | None, made)  # null keeps the default
    return create_model(f"{model}Options", __base__=_OfRecBole, **fields)


class _OfRecBole(Options):
    def check_together(self) -> None:
        fields = type(self).model_fields
        values = {k: fields[k].default if v is None else v for k, v in dict(self).items()}
        heads, width = values.get("n_heads"), values.get("hidden_size")
        if heads and width and width % heads:
            raise OptionError(f"n_heads={heads} does not divide hidden_size={width}")
        for name, given in values.items():
            default = fields[name].default
            if isinstance(default, list) and default and isinstance(given, list):
                # A weight for each of a model's terms, or a width for each of its layers.
                of_terms = isinstance(default[0], float)
                if not given or (of_terms and len(given) != len(default)):
                    needed = len(default) if of_terms else "one or more"
                    raise OptionError(f"{name}={given} has {len(given)} values: give {needed}")


@cache
def _content(model: str) -> dict[str, Any]:
    path = recbole_dir() / "properties" / "model" / f"{model}.yaml"
    return read_yaml(path) if path.is_file() else {}


def _type(name: str, default: Any) -> Any:
    if isinstance(default, list):
        kinds = {_type(name, one) for one in default}
        return types.GenericAlias(list, (kinds.pop(),)) if len(kinds) == 1 else None
    if isinstance(default, int) and not isinstance(default, bool):
        return float if _FRACTION.search(name) else int
    return type(default) if isinstance(default, (bool, float, str)) else None


def _bounds(model: str, name: str, kind: Any, default: Any) -> dict[str, Any]:
    (of,) = typing.get_args(kind) or (kind,)
    if kind is str:
        return {"choices": _ACTIVATIONS if name == "hidden_act" else _words(model, name, default)}
    if of is int:
        if _SIZE.search(name):
            return {"low": 1}
        return {} if isinstance(default, int) and default < 0 else {"low": 0}
    if of is not float:
        return {}
    if _PROBABILITY.search(name):
        return {"low": 0.0, "below": 1.0}
    if _ABOVE_ZERO.search(name):
        return {"above": 0.0}
    return {"low": 0.0} if name == "initializer_range" else {}


def _words(model: str, name: str, default: Any) -> list[str] | None:
    """Return the words that the model's source knows; None where it compares with no two."""
    read = rf"(?:self\.{name}|config\[[\"']{name}[\"']\])(?:\.lower\(\))?"
    known = {default}
    for source in (recbole_dir() / "model").glob(f"*_recommender/{model.lower()}.py"):
        text = source.read_text(encoding="utf-8")
        known |= set(re.findall(rf"{read}\s*[!=]=\s*[\"'](\w*)[\"']", text))
        for several in re.findall(rf"{read}\s*(?:not\s+)?in\s*[\[({{]([^\])}}]*)", text):
            known |= set(re.findall(r"[\"'](\w*)[\"']", several))
    return sorted(known) if len(known) > 1 else None

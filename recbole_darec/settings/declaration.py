"""What is declared of one option, and which values its type takes."""

from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from pydantic_core import PydanticCustomError, core_schema

__all__ = ["NOT_PERMITTED", "Declaration", "kinds_of", "type_name"]

NOT_PERMITTED = "not_permitted"
"""The kind of pydantic's error for a value of the right type that is out of bounds."""


@dataclass(frozen=True)
class Declaration:
    """What is declared of an option beside its type, default and sentence.

    Attributes:
        low, high, above, below, choices, or_word: what a value must satisfy beyond its type.
        flag: its name on the command line of a sub-command, where it is not the field's.
        metavar: what stands for its value in the help of a sub-command.
        since: the version of this package that brought it; None for the first.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] | None = None
    or_word: str | None = None
    flag: str | None = None
    metavar: str | None = None
    since: str | None = None

    def describe(self) -> str:
        """Say the permitted values, such as ``"at least 1"``."""
        if self.choices is not None:
            return "one of " + ", ".join(str(c) for c in self.choices)
        bounds = [
            f"{text} {int(bound) if bound == int(bound) else bound}"
            for text, bound in (
                ("at least", self.low),
                ("above", self.above),
                ("at most", self.high),
                ("below", self.below),
            )
            if bound is not None
        ]
        text = " and ".join(bounds)
        if self.or_word is not None:
            text = f"{text} or '{self.or_word}'" if text else f"a number or '{self.or_word}'"
        return text

    def permits(self, value: Any) -> bool:
        """Tell whether ``value`` (already of the right type) is permitted."""
        if isinstance(value, (list, tuple)):
            return all(self.permits(v) for v in value)
        if isinstance(value, dict):
            return all(self.permits(v) for v in value.values())
        if self.choices is not None:
            return value is None or value in self.choices
        if self.or_word is not None and isinstance(value, str):
            return value == self.or_word
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        def refuse(value: Any) -> Any:
            if not self.permits(value):
                raise PydanticCustomError(NOT_PERMITTED, "not permitted")
            return value

        return core_schema.no_info_before_validator_function(
            functools.partial(_eased, source),
            core_schema.no_info_after_validator_function(refuse, handler(source)),
        )


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the one type."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _eased(hint: Any, value: Any) -> Any:
    """Return ``value`` with the conversions that are permitted beside pydantic's strict ones."""
    kinds = kinds_of(hint)
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return int(value)
    if isinstance(value, str) and Path in kinds and str not in kinds:
        return Path(value)
    for kind in kinds:
        origin = typing.get_origin(kind)
        if origin is dict and isinstance(value, dict):
            return {key: _eased(typing.get_args(kind)[1], v) for key, v in value.items()}
        if origin in (list, tuple):
            single = isinstance(value, (int, float, str)) and not isinstance(value, bool)
            if single and type(value) not in kinds:
                value = [value]
            if isinstance(value, (list, tuple)):
                return origin(_eased(typing.get_args(kind)[0], v) for v in value)
    return value


def type_name(hint: Any) -> str:
    """Say a type, such as ``"int or str"``."""
    kinds = kinds_of(hint)
    if len(kinds) > 1:
        return " or ".join(map(type_name, kinds))
    origin = typing.get_origin(hint)
    if origin in (list, tuple):
        return f"list of {type_name(typing.get_args(hint)[0])}"
    if origin is dict:
        of = typing.get_args(hint)[1]
        return "dict" if of is Any else f"dict of {type_name(of)}"
    names = {type(None): "null", str: "str", int: "int", float: "float", bool: "bool", Path: "path"}
    return names.get(hint, str(hint))

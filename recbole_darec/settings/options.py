"""Typed options: declared once, checked once.

Each group of options is a frozen dataclass whose fields are made with :func:`option`: default,
documentation and permitted values stand together.  The command line, the property files, the
configuration reference and the checks are all read from these declarations.  This module imports
neither torch nor RecBole, so that a misspelt option is answered at once.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from recbole_darec.errors import OptionError, nearest

__all__ = [
    "EvaluationOptions",
    "ProfileSourceOptions",
    "RunOptions",
    "checked",
    "documentation",
    "option",
    "option_names",
    "options_from_config",
    "parse_options",
    "switches",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Constraint:
    """What a value must satisfy beyond its type."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] | None = None
    or_word: str | None = None

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

    def holds(self, value: Any) -> bool:
        """Tell whether ``value`` (already of the right type) is permitted."""
        if self.choices is not None:
            return value in self.choices
        if self.or_word is not None and isinstance(value, str):
            return value == self.or_word
        if isinstance(value, (list, tuple)):
            return all(self.holds(v) for v in value)
        if not isinstance(value, (int, float)):
            return True
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] | None = None,
    or_word: str | None = None,
) -> Any:
    """Declare one option as a dataclass field.

    Args:
        default: the default value.
        doc: one sentence for the reference and the property file.
        low, high: inclusive bounds of a number, or of each number of a list.
        above, below: exclusive bounds.
        choices: the permitted values.
        or_word: a word that is permitted beside numbers, such as ``"all"``.
    """
    constraint = Constraint(
        low, high, above, below, None if choices is None else tuple(choices), or_word
    )
    metadata = {"doc": doc, "constraint": constraint}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunOptions:
    """What a run does, whatever its backbone and aligner."""

    align: str = option("darec", "Alignment method, or none for the backbone alone.")
    preset: str | None = option(
        None, "A file of properties/preset, read after the data set's own properties."
    )
    split_seed: int | None = option(
        None,
        "Seed of the ratio split. Null draws the split from `seed`, as RecBole does; a number "
        "keeps one split whatever `seed` is.",
        low=0,
        high=2**32 - 1,
    )
    resume: bool | str = option(
        False,
        "Continue a run that was cut off: true for the newest one with these very options, or "
        "the path of its .resume file.",
    )
    snapshot_every: int = option(
        1, "Epochs between two snapshots for --resume; 0 writes none.", low=0
    )
    diagnostics: bool = option(
        False,
        "Log each epoch the effective rank and mean direction of the embeddings and of the "
        "aligner's parts, and the norm of the gradient with which each loss reaches E^C.",
    )
    num_threads: int = option(0, "CPU threads of torch; 0 leaves torch's own choice.", low=0)


@dataclass(frozen=True)
class ProfileSourceOptions:
    """Where the profile embeddings E^L come from and what is done to them."""

    profile_dir: str | None = option(
        None,
        "Folder of <dataset>.useremb and <dataset>.itememb; null looks in the data set's folder "
        "and then among the samples that the package carries.",
    )
    user_profile_file: str | None = option(None, "User embedding file, instead of a search.")
    item_profile_file: str | None = option(None, "Item embedding file, instead of a search.")
    missing_profile: str = option(
        "error",
        "What a user or item without a profile gets: an error, the mean row, or a zero row.",
        choices=("error", "mean", "zero"),
    )
    profile_width: int | None = option(
        None, "Expected number of columns; null takes whatever the files hold.", low=1
    )
    profile_split: str = option(
        "error",
        "What to do where the profiles say that they were made from another split than this "
        "run's, so that they may tell test interactions: an error, or a warning.",
        choices=("error", "warn"),
    )
    profile_control: str = option(
        "none",
        "Control experiment: shuffle gives each user and item another one's row, random gives "
        "Gaussian rows.",
        choices=("none", "shuffle", "random"),
    )
    profile_control_seed: int = option(0, "Seed of the control.", low=0)


@dataclass(frozen=True)
class EvaluationOptions:
    """How the all-rank evaluation is done."""

    eval_mask: str = option(
        "train_valid",
        "Items left out of the ranking at test time: those of training (the papers' protocol), "
        "or of training and validation (RecBole's).",
        choices=("train", "train_valid"),
    )
    eval_batch_users: int = option(1024, "Users ranked at a time.", low=1)


COMMON_OPTIONS: tuple[type, ...] = (RunOptions, ProfileSourceOptions, EvaluationOptions)


def option_names(*groups: type) -> list[str]:
    """Return the names of the options of the given groups."""
    return [f.name for group in groups for f in dataclasses.fields(group)]


def switches(*groups: type) -> set[str]:
    """Return the names of the options that are true or false, and true when they stand alone."""
    return {
        name
        for group in groups
        for name, hint in typing.get_type_hints(group).items()
        if hint is bool
    }


def documentation(group: type) -> list[tuple[str, str, Any, str]]:
    """Return ``(name, type and permitted values, default, sentence)`` for each option."""
    hints = typing.get_type_hints(group)
    rows = []
    for field in dataclasses.fields(group):
        default = (
            field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else field.default
        )
        constraint: Constraint = field.metadata["constraint"]
        kind = _type_name(hints[field.name])
        permitted = constraint.describe()
        rows.append(
            (
                field.name,
                f"{kind}, {permitted}" if permitted else kind,
                default,
                field.metadata["doc"],
            )
        )
    return rows


def parse_options(group: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Make the options of ``group`` from ``values``; keys of other groups are left alone.

    Raises:
        OptionError: a value is of the wrong type or not permitted.
    """
    hints = typing.get_type_hints(group)
    given = {}
    for field in dataclasses.fields(group):  # type: ignore[arg-type]
        if field.name in values:
            given[field.name] = checked(
                field.name, values[field.name], hints[field.name], field.metadata["constraint"]
            )
    return group(**given)


def options_from_config(group: Callable[..., T], config: Any) -> T:
    """Make the options of ``group`` from a RecBole ``Config`` (absent keys keep the default)."""
    names = [f.name for f in dataclasses.fields(group)]  # type: ignore[arg-type]
    return parse_options(group, {name: config[name] for name in names if name in config})


def checked(name: str, value: Any, hint: Any, constraint: Constraint) -> Any:
    """Return ``value`` as the declared type, or raise an error that names the option."""
    permitted = constraint.describe()
    choices = map(str, constraint.choices or ())
    hint_text = nearest(value, choices) if isinstance(value, str) else ""
    try:
        converted = _converted(value, hint, constraint)
    except (TypeError, ValueError, OverflowError):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        kind = "finite number" if number and hint is float else _type_name(hint)
        raise OptionError(
            f"{name}={_shown(value)} is not {_article(kind)}"
            f"{f' ({permitted})' if permitted else ''}{hint_text}"
        ) from None
    if converted is not None and not constraint.holds(converted):
        raise OptionError(f"{name}={_shown(value)} must be {permitted}{hint_text}")
    return converted


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _converted(value: Any, hint: Any, constraint: Constraint) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        for candidate in typing.get_args(hint):
            if candidate is type(None):
                if value is None:
                    return None
                continue
            try:
                return _converted(value, candidate, constraint)
            except (TypeError, ValueError, OverflowError):
                continue
        raise TypeError
    if origin is list:
        (item,) = typing.get_args(hint)
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return [_converted(v, item, constraint) for v in value]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TypeError
        return dict(value)
    if hint is bool:
        if not isinstance(value, bool):
            raise TypeError
        return value
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        if float(value) != int(value):
            raise ValueError
        return int(value)
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        if not math.isfinite(value):
            raise ValueError
        return float(value)
    if hint is str:
        if not isinstance(value, str):
            raise TypeError
        return value
    raise TypeError(f"unsupported option type {hint!r}")


def _type_name(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(a) for a in typing.get_args(hint))
    if origin is list:
        return f"list of {_type_name(typing.get_args(hint)[0])}"
    if origin is dict:
        return "dict"
    return {type(None): "null", str: "str", int: "int", float: "float", bool: "bool"}.get(
        hint, str(hint)
    )


def _article(noun: str) -> str:
    return ("an " if noun[:1] in "aeiou" else "a ") + noun

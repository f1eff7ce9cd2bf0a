"""From the declared options of a sub-command to its parser, and from its arguments to options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, get_origin

from recbole_darec.settings.declaration import Declaration, kinds_of
from recbole_darec.settings.options import CommandOptions, declarations

__all__ = ["add_options", "options_from"]

T = TypeVar("T", bound=CommandOptions)


def add_options(
    group: Any,
    options: type[CommandOptions],
    *,
    skip: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add a flag for each option: its name, its sentence and its default.

    Args:
        group: a parser, or an argument group of one.
        options: the declared options.
        skip: names of options that this parser does not have.
        defaults: other defaults than the declared ones; an option of these need not be given.
    """
    defaults = defaults or {}
    for name, declared in declarations(options).items():
        if name in skip:
            continue
        field = options.model_fields[name]
        given = name in defaults
        default = defaults.get(name, field.default)
        text = str(field.description).rstrip(".")
        kinds = kinds_of(field.annotation)
        settings: dict[str, Any] = {"dest": _dest(options, name)}
        # What is not given stays out of the namespace: the class has the defaults.
        settings["default"] = default if given else argparse.SUPPRESS
        if field.annotation is bool:
            settings["action"] = "store_true"
        else:
            settings["metavar"] = declared.metavar or _metavar(declared, kinds)
            settings["required"] = required = field.is_required() and not given
            if any(get_origin(kind) is tuple for kind in kinds):
                settings["action"] = "append"
            elif default is not None and not required and "(default" not in text:
                text += f" (default: {_shown(default)})"
        group.add_argument(options.name_of(name), help=text.replace("%", "%%"), **settings)


def options_from(
    args: argparse.Namespace,
    options: type[T],
    *,
    read: Mapping[str, Callable[[str], Any]] | None = None,
    whole: Collection[str] = (),
    **more: Any,
) -> T:
    """Return the options that were given.

    Args:
        args: what a parser with these options has read.
        options: the declared options.
        read: name to function, for texts that are not written as their values are.
        whole: names whose values are not split at commas, such as files.
        **more: fields that are no arguments.

    Raises:
        OptionError: a value is of the wrong type or not permitted.
    """
    given = dict(more)
    for name in declarations(options):
        value = getattr(args, _dest(options, name), None)
        if value is None:
            continue
        if read is not None and name in read and isinstance(value, str):
            given[name] = read[name](value)
        elif isinstance(value, list) and name in whole:
            given[name] = value
        elif isinstance(value, list):
            parts = [part.strip() for text in value for part in text.split(",")]
            given[name] = [part for part in parts if part]
        elif isinstance(value, str):
            given[name] = _value(value, kinds_of(options.model_fields[name].annotation))
        else:
            given[name] = value
    return options(**given)


def _dest(options: type[CommandOptions], name: str) -> str:
    return options.name_of(name)[2:].replace("-", "_")


def _value(text: str, kinds: tuple[Any, ...]) -> Any:
    """Return the number that a text is, where one is declared; what is none is refused later."""
    if type(None) in kinds and text.lower() == "none" and str not in kinds:
        return None
    # A whole number is shown as it was written where it is refused.
    for kind in (int, float) if float in kinds else kinds:
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _metavar(declared: Declaration, kinds: tuple[Any, ...]) -> str:
    if declared.choices is not None:
        return "|".join(map(str, declared.choices))
    return "N" if int in kinds or float in kinds else "FILE"


def _shown(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)

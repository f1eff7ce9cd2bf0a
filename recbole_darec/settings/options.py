"""Typed options: declared once, checked once.

A group of options is a subclass of :class:`Options` whose fields are made with :func:`option`:
type, default, sentence and permitted values stand together.  The command line, the property files,
the configuration reference and the checks are all made from these declarations.  This module
imports neither torch nor RecBole, so that a misspelt option is answered at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recbole_darec.errors import OptionError, nearest
from recbole_darec.settings.declaration import NOT_PERMITTED, Declaration, kinds_of, type_name

__all__ = [
    "CommandOptions",
    "Options",
    "declarations",
    "documentation",
    "option",
    "option_names",
    "options_from_config",
    "parse_options",
    "switches",
]

T = TypeVar("T", bound="Options")


def option(
    default: Any,
    sentence: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] | None = None,
    or_word: str | None = None,
    flag: str | None = None,
    metavar: str | None = None,
    since: str | None = None,
) -> Any:
    """Declare one option: the default of a field of an :class:`Options` class.

    Args:
        default: the default value; ``...`` for an option that must be given.
        sentence: one sentence for the help, the reference and the property file.
        low, high: inclusive bounds of a number, or of each number of a list.
        above, below: exclusive bounds.
        choices: the permitted values.
        or_word: a word that is permitted beside numbers, such as ``"all"``.
        flag: the name on a sub-command's command line, where it is not the field's.
        metavar: what stands for the value in a sub-command's help.
        since: the version that brings the option to a method that was there before.  Files of older
            versions lack it, and stand for its default.
    """
    field: Any = Field(default, description=sentence)
    permitted = None if choices is None else tuple(choices)
    field.metadata.append(
        Declaration(low, high, above, below, permitted, or_word, flag, metavar, since)
    )
    return field


class Options(BaseModel):
    """Base of all groups of options: frozen, no unknown name, no lax conversion.

    A whole number written as a float (``1e3``, ``64.0``) is an int, an int is a float, and a single
    value is a list of one; text is no number, ``True`` is no 1, and no number is NaN or infinite.

    Attributes:
        RECBOLE_DEFAULTS: values of RecBole's own options that go with this group: they stand in its
            property file, above RecBole's defaults.

    Raises:
        OptionError: a value is of the wrong type or not permitted.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )

    RECBOLE_DEFAULTS: ClassVar[Mapping[str, Any]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_one_line(cls, values: Any, handler: Any) -> Any:
        try:
            made = handler(values)
        except ValidationError as error:
            raise _as_option_error(cls, values, error) from None
        made.check_together()
        return made

    def check_together(self) -> None:
        """Refuse values that are permitted one by one and do not go together.

        Raises:
            OptionError: in one line, with the values and the way out.
        """

    @classmethod
    def name_of(cls, field: str) -> str:
        """Return what a user calls a field: its own name, as in a property file."""
        return field

    @classmethod
    def type_of(cls, field: str) -> str:
        """Return what a user calls a field's type."""
        return type_name(cls.model_fields[field].annotation)

    def __reduce__(self) -> Any:
        # By name: a class that was read without its module's imports is that module's class.
        kind = type(self)
        return _restored, (kind.__module__, kind.__qualname__, dict(self))


class CommandOptions(Options):
    """Base of the options of a sub-command, which users know as ``--flags``."""

    @classmethod
    def name_of(cls, field: str) -> str:
        """Return the flag of a field."""
        declared = declarations(cls).get(field)
        flag = declared.flag if declared is not None else None
        return f"--{flag or field.replace('_', '-')}"

    @classmethod
    def type_of(cls, field: str) -> str:
        """Return a field's type; to leave a flag out is to give null, where that is the default."""
        declared = cls.model_fields[field]
        told, null, _ = type_name(declared.annotation).partition(" or null")
        return f"{told} or none" if null and declared.default is not None else told


def _restored(module: str, name: str, values: dict[str, Any]) -> Options:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    restored: Options = found.model_construct(**values)
    return restored


def declarations(group: type[Options]) -> dict[str, Declaration]:
    """Return the declaration of each option of a group; other fields are none."""
    found = {}
    for name, field in group.model_fields.items():
        for declared in field.metadata:
            if isinstance(declared, Declaration):
                found[name] = declared
    return found


def option_names(*groups: type[Options]) -> list[str]:
    """Return the names of the options of the given groups."""
    return [name for group in groups for name in declarations(group)]


def switches(*groups: type[Options]) -> set[str]:
    """Return the names of the options that are true or false, and true when they stand alone."""
    return {
        name
        for group in groups
        for name in declarations(group)
        if group.model_fields[name].annotation is bool
    }


def documentation(group: type[Options]) -> list[tuple[str, str, Any, str]]:
    """Return ``(name, type and permitted values, default, sentence)`` for each option."""
    rows = []
    for name, declared in declarations(group).items():
        field = group.model_fields[name]
        kind, permitted = type_name(field.annotation), declared.describe()
        rows.append(
            (
                name,
                f"{kind}, {permitted}" if permitted else kind,
                field.get_default(call_default_factory=True),
                str(field.description),
            )
        )
    return rows


def parse_options(group: type[T], values: Mapping[str, Any]) -> T:
    """Make the options of ``group`` from ``values``; keys of other groups are left alone.

    Raises:
        OptionError: a value is of the wrong type or not permitted.
    """
    return group(**{name: values[name] for name in group.model_fields if name in values})


def options_from_config(group: type[T], config: Any) -> T:
    """Return a run's options of one group.

    The configuration of a run carries its settings, whose options are checked already.  They are
    read from the keys of ``config`` only for a class that is made by hand with a plain ``Config``
    of RecBole, or with the configuration of a run that has other methods.

    Args:
        group: the class of the options.
        config: RecBole's configuration; absent keys keep the default.

    Raises:
        OptionError: a value is of the wrong type or not permitted.
    """
    for held in getattr(getattr(config, "settings", None), "groups", ()):
        if type(held) is group:
            return held
        # Read from the method's file without its imports: the same class by name.
        if (type(held).__module__, type(held).__qualname__) == (
            group.__module__,
            group.__qualname__,
        ):
            return group.model_construct(**dict(held))
    return parse_options(
        group, {name: config[name] for name in group.model_fields if name in config}
    )


def _as_option_error(group: type[Options], values: Any, error: ValidationError) -> OptionError:
    """Say the first of pydantic's errors in one line that names the option and the way out."""
    errors = error.errors(include_url=False, include_input=False)
    place = errors[0]["loc"]
    if not place:
        return OptionError(f"{group.__name__}: {errors[0]['msg']}")
    name = str(place[0])
    shown = group.name_of(name)
    if name not in group.model_fields:
        known = [group.name_of(field) for field in group.model_fields]
        return OptionError(f"unknown option '{shown}'{nearest(shown, known)}")
    if errors[0]["type"] == "missing":
        return OptionError(f"{shown} is missing: {group.model_fields[name].description}")
    value, hint = values[name], group.model_fields[name].annotation
    declared = declarations(group).get(name, Declaration())
    permitted, text = declared.describe(), repr(value)
    given = f"{shown}={text if len(text) <= 80 else f'{text[:77]}...'}"
    close = nearest(value, map(str, declared.choices or ())) if isinstance(value, str) else ""
    if any(one["type"] == NOT_PERMITTED for one in errors if one["loc"][:1] == (name,)):
        return OptionError(f"{given} must be {permitted}{close}")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    finite = number and float in kinds_of(hint)
    kind = "finite number" if finite else group.type_of(name)
    article = "an" if kind[0] in "aeiou" else "a"
    return OptionError(
        f"{given} is not {article} {kind}{f' ({permitted})' if permitted else ''}{close}"
    )

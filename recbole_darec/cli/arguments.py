"""Reading ``--option=value`` arguments whose names the parser does not list one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_darec.errors import CheckpointError, OptionError

__all__ = ["check_checkpoint", "option_arguments", "options_help"]


def option_arguments(rest: Sequence[str]) -> dict[str, Any]:
    """Return the options of ``--key=value`` or ``--key value`` arguments, as values.

    A switch of every run, such as ``--diagnostics``, is true where it stands alone.

    Raises:
        OptionError: an argument is no option, has no value, or is given twice with two values.
    """
    from recbole_darec.settings.options import switches
    from recbole_darec.settings.run_options import COMMON_OPTIONS
    from recbole_darec.settings.values import parse_value

    alone = switches(*COMMON_OPTIONS)
    found: dict[str, Any] = {}
    waiting = list(rest)
    while waiting:
        argument = waiting.pop(0)
        if not re.match(r"--\w", argument):
            raise OptionError(f"argument '{argument}' is not of the form --option=value")
        key, equals, text = argument[2:].partition("=")
        if not equals:
            if waiting and not waiting[0].startswith("--"):
                text = waiting.pop(0)
            elif key in alone:
                text = "True"
            else:
                raise OptionError(f"option --{key} has no value: write --{key}=VALUE")
        value = parse_value(text)
        if key in found and repr(found[key]) != repr(value):
            raise OptionError(f"option --{key} is given twice, as {found[key]!r} and {value!r}")
        found[key] = value
    return found


def check_checkpoint(path: Path | str) -> None:
    """Check that a checkpoint is there, before anything heavy is imported.

    Raises:
        CheckpointError: it is not.
    """
    if not Path(path).is_file():
        raise CheckpointError(
            f"checkpoint '{path}' does not exist; a run prints its path at its end"
        )


def options_help() -> str:
    """Return the text that lists this package's options with their defaults."""
    from recbole_darec.resolve import option_groups
    from recbole_darec.settings.options import documentation

    lines = []
    for title, members in option_groups().items():
        lines.append(f"\noptions of {title}:")
        for group in members:
            for key, _, default, sentence in documentation(group):
                shown = "" if default is None else f" [{default}]"
                lines.append(f"  --{key}={shown}\n      {sentence}")
    return "\n".join(lines)

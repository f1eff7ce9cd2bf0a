"""The text of a property file, made from the options that it documents."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from recbole_darec.settings.options import Options, documentation
from recbole_darec.settings.recbole_options import CheckedRecBoleOptions

__all__ = ["property_file", "section"]

_WIDTH = 100
_COLUMN = 29  # where the comments start


def property_file(title: str, group: type[Options]) -> str:
    """Return the property file of a backbone or an aligner.

    Args:
        title: the first line, what the method is.
        group: its options; what its docstring says beyond the first line goes to the top, too.
    """
    _, _, more = inspect.cleandoc(str(group.__doc__)).partition("\n\n")
    made = f"Made by docs/make_configuration.py from {group.__name__}: change a default there."
    paragraphs = [title, *(more.split("\n\n") if more else ()), made]
    return "".join(_commented(p) for p in paragraphs) + section(group)


def section(group: type[Options]) -> str:
    """Return the lines of a group's options, RecBole's that go with it first."""
    of_recbole = {name: row for name, *row in documentation(CheckedRecBoleOptions)}
    lines: list[str] = []
    for name, value in group.RECBOLE_DEFAULTS.items():
        kind, _, sentence = of_recbole.get(name, ("", None, ""))
        lines += _lines(name, value, str(kind), str(sentence))
    for name, kind, default, sentence in documentation(group):
        lines += _lines(name, default, kind, sentence)
    return "".join(f"{line}\n" for line in lines)


def _lines(name: str, value: Any, kind: str, sentence: str) -> Iterator[str]:
    """Give ``name: value  # (type and permitted values) sentence``, wrapped."""
    setting = f"{name}: {_yaml(value)}"
    if not sentence:
        yield setting
        return
    for comment in textwrap.wrap(f"({kind}) {sentence}", _WIDTH - _COLUMN - 2):
        yield f"{setting:<{_COLUMN}}# {comment}"
        setting = ""


def _yaml(value: Any) -> str:
    if value is None:
        return "~"
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _commented(paragraph: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(paragraph, _WIDTH - 2))

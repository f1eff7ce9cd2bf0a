"""Plain values: read from YAML, from the texts of a command line, from hyper-tuning."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import Any

import yaml

from recbole_darec.errors import OptionError

__all__ = ["parse_value", "plain_value", "read_yaml"]


def read_yaml(path: Any) -> dict[str, Any]:
    """Read one property file.

    Raises:
        OptionError: the file is missing, is not YAML, or is not a mapping of options.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionError(f"config file '{path}' does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"config file '{path}' cannot be read: {error}") from None
    try:
        content = _read(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}," if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error) or "no problem named"
        raise OptionError(
            f"config file '{path}'{place} is not valid YAML ({problem}); write one "
            "'option: value' a line"
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(
            f"config file '{path}' holds a {type(content).__name__}; it must be a mapping, "
            "one 'option: value' a line"
        )
    for key, value in content.items():
        try:
            content[key] = _without_tuples(value)
        except TypeError as error:
            raise OptionError(
                f"config file '{path}': {key} holds a {error}; give text, numbers, lists or "
                "mappings"
            ) from None
    return {str(key): value for key, value in content.items()}


def parse_value(text: str) -> Any:
    """Return the value that a command-line text stands for (number, list, dict, null, text)."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text in ("None", "null", "~"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of a backslash in a quoted text
            return _without_tuples(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    if text[:1] in ("[", "{"):
        try:
            return _without_tuples(_read(text))
        except (yaml.YAMLError, ValueError, RecursionError, TypeError):
            return text
    return text


def plain_value(key: str, value: Any) -> Any:
    """Return a value of ``config_dict`` as plain Python; hyper-tuning gives NumPy and text."""
    if isinstance(value, str):
        return value if key in ("model", "dataset", "align") else parse_value(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple):
        return [plain_value("", v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        return value
    raise OptionError(f"config_dict['{key}'] is a {type(value).__name__}; give plain values")


def _without_tuples(value: Any) -> Any:
    """Return a Python literal with lists for its tuples; raise TypeError for a set and the like."""
    if isinstance(value, (list, tuple)):
        return [_without_tuples(v) for v in value]
    if isinstance(value, dict):
        return {key: _without_tuples(v) for key, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(type(value).__name__)


def _read(text: str) -> Any:
    """Read YAML, sooner with libyaml; what is wrong is told in PyYAML's own words."""
    try:
        return yaml.load(text, Loader=_FastLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """Safe YAML with RecBole's reading of numbers (1e-5 is a float), and dates left as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own attribute, copied to be changed)
        first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same, read by libyaml where PyYAML has it."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

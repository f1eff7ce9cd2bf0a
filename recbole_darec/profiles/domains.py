"""Domains: what items and users are called, what their columns mean, and what a model is asked.

A domain is a folder with ``item.md`` and ``user.md``, the instructions to a language model (the
system prompts S_v and S_u of RLMRec, equation 12), and ``domain.yaml``, the meaning of the columns
of ``.item`` and ``.user``.  Those of the package are in ``properties/prompts``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from recbole_darec.errors import OptionError, nearest, some
from recbole_darec.profiles.spec import Column, ProfileSpec
from recbole_darec.resources import properties_dir

__all__ = ["Domain", "domain_names", "read_domain"]

_WORDS = "{max_words}"
_NAMES = ("title", "description", "year")
_COLUMN_KEYS = {"name", "phrase", "values", "bins", "words"}
_KEYS = {
    "item_noun", "item_nouns", "user_noun", "title", "description", "year", "categories",
    "category_noun", "unknown", "item_columns", "user_columns", "liked_from",
}  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """One domain.

    Attributes:
        name: the folder's name.
        item_instruction, user_instruction: the texts of ``item.md`` and ``user.md``.
        columns: ``domain.yaml``, checked.
    """

    name: str
    item_instruction: str
    user_instruction: str
    columns: Mapping[str, Any] = field(default_factory=dict)

    def instruction(self, kind: str, max_words: int) -> str:
        """Return the instruction for ``kind`` (item or user), with the word limit."""
        text = self.item_instruction if kind == "item" else self.user_instruction
        return text.replace(_WORDS, str(max_words)).strip()

    def column(self, meaning: str, columns: Iterable[str]) -> str | None:
        """Return the column of a table that holds the title, description or year, if any."""
        present = set(columns)
        return next((name for name in self.columns.get(meaning, ()) if name in present), None)

    def spec(self, item_columns: Sequence[str], user_columns: Sequence[str]) -> ProfileSpec:
        """Return how the template renders tables with these columns."""
        settings = self.columns
        of_items, of_users = set(item_columns), set(user_columns)
        categories: Mapping[str, str] = settings.get("categories", {})
        found = next((name for name in categories if name in of_items), None)
        separator = categories[found].strip() if found is not None else ""
        chosen: dict[str, Any] = {
            "title": self.column("title", item_columns),
            "year": self.column("year", item_columns),
            "categories": found,
            "separator": separator or None,
            "item_columns": _present(settings.get("item_columns", ()), of_items),
            "user_columns": _present(settings.get("user_columns", ()), of_users),
        }
        for key in ("item_noun", "item_nouns", "user_noun", "category_noun", "liked_from"):
            if key in settings:
                chosen[key] = settings[key]
        if "unknown" in settings:
            chosen["unknown"] = frozenset(word.lower() for word in settings["unknown"])
        return ProfileSpec(**chosen)


def domain_names() -> list[str]:
    """Return the names of the package's domains."""
    return sorted(path.parent.name for path in (properties_dir() / "prompts").glob("*/item.md"))


def read_domain(name: str) -> Domain:
    """Read a domain of the package by its name, or one of the user's by its folder.

    A folder of the user's needs ``item.md`` and ``user.md``; without a ``domain.yaml`` the columns
    mean what they mean in ``general``.  A folder that happens to be called as a domain of the
    package counts only if it has an ``item.md``.

    Raises:
        OptionError: there is no such domain, or a file is missing or malformed.
    """
    known = domain_names()
    own = Path(os.path.expanduser(name))
    if own.is_dir() and ((own / "item.md").is_file() or name not in known):
        folder = own
    elif name in known:
        folder = properties_dir() / "prompts" / name
    elif Path(name).name != name:
        raise OptionError(f"--domain={name} is no folder: give one with item.md and user.md")
    else:
        raise OptionError(
            f"unknown domain '{name}'{nearest(name, known)}: there are {', '.join(known)}, or give "
            "a folder with item.md and user.md"
        )
    path = folder / "domain.yaml"
    if not path.is_file():
        path = properties_dir() / "prompts" / "general" / "domain.yaml"
    return Domain(
        folder.resolve().name,
        _text(folder / "item.md"),
        _text(folder / "user.md"),
        _read_columns(path),
    )


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(
            f"the instruction {path} cannot be read: {error.strerror or error}"
        ) from None
    except UnicodeDecodeError:
        raise OptionError(f"the instruction {path} is not UTF-8: save it so") from None
    if not text.strip():
        raise OptionError(f"the instruction {path} is empty")
    return text


def _read_columns(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OptionError(f"{path} is not yaml: {error}") from None
    if not isinstance(content, dict):
        raise OptionError(f"{path} must be 'key: value' lines")
    for key in content:
        if key not in _KEYS:
            raise OptionError(f"{path}: unknown key '{key}'{nearest(str(key), _KEYS)}")
    for key in (*_NAMES, "unknown"):
        if key in content:
            content[key] = _names(path, key, content[key])
    if "categories" in content:
        value = content["categories"]
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise OptionError(f"{path}: categories must be {{column: separator}}, not {value!r}")
    for key in ("item_columns", "user_columns"):
        entries = content.get(key) or []
        if not isinstance(entries, list):
            raise OptionError(f"{path}: {key} must be a list of {{name: city}}, not {entries!r}")
        content[key] = tuple(_column(path, key, one) for one in entries)
    for key in ("item_noun", "item_nouns", "user_noun", "category_noun"):
        if key in content and not (isinstance(content[key], str) and content[key].strip()):
            raise OptionError(f"{path}: {key} must be a word, not {content[key]!r}")
    bar = content.get("liked_from", 0.0)
    if isinstance(bar, bool) or not isinstance(bar, (int, float)) or not abs(bar) < float("inf"):
        raise OptionError(f"{path}: liked_from must be a rating, not {bar!r}")
    return content


def _names(path: Path, key: str, value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OptionError(f"{path}: {key} must be a list of names, not {value!r}")
    return tuple(names)


def _column(path: Path, key: str, value: Any) -> Column:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise OptionError(f"{path}: an entry of {key} needs a name, as in {{name: city}}")
    foreign = [name for name in value if name not in _COLUMN_KEYS]
    if foreign:
        raise OptionError(f"{path}: {key} has an unknown {some(foreign)}")
    phrase = value.get("phrase", "{}")
    if not isinstance(phrase, str) or not re.fullmatch(r"[^{}]*\{\}[^{}]*", phrase):
        raise OptionError(f"{path}: the phrase of {value['name']} needs one {{}}, not {phrase!r}")
    try:
        return Column(
            value["name"],
            phrase,
            {str(k): str(v) for k, v in (value.get("values") or {}).items()},
            tuple(int(bound) for bound in value.get("bins") or ()),
            int(value.get("words") or 0),
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise OptionError(f"{path}: {key}, {value['name']}: {error}") from None


def _present(columns: Iterable[Column], names: set[str]) -> tuple[Column, ...]:
    return tuple(column for column in columns if column.name in names)

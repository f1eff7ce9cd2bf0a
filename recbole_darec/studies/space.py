"""What is searched: ranges of options, and settings drawn from them."""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import OptionError, nearest

__all__ = ["KINDS", "Range", "drawn", "range_of", "read_ranges"]

KINDS = ("choice", "uniform", "quniform", "loguniform")
"""RecBole's kinds of ranges, in the notation of its params files."""

_LINE = re.compile(r"(\S+)\s+(\S+)\s+(.+)")
_LARGEST = 700  # e to the power of it is about the largest number there is
_DRAWS = 100  # tries for each setting that is not there yet


@dataclass(frozen=True)
class Range:
    """The values of one option.

    Attributes:
        kind: one of ``KINDS``.
        values: the choices; else low and high, natural logarithms of the bounds where the kind is
            ``loguniform``, and for ``quniform`` the step after them.
    """

    kind: str
    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one value within the bounds, of six digits."""
        if self.kind == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        low, high = self.values[:2]
        value = float(rng.uniform(low, high))
        if self.kind == "loguniform":
            low, high, value = math.exp(low), math.exp(high), math.exp(value)
        elif self.kind == "quniform":
            value = round(value / self.values[2]) * self.values[2]
        # What is rounded next to a bound may lie beyond it.
        value = min(max(float(f"{value:.6g}"), low), high)
        whole = self.kind == "quniform" and float(value).is_integer()
        return int(value) if whole else float(value)


def range_of(name: str, kind: str, values: Any) -> Range:
    """Return a range, checked.

    Raises:
        OptionError: the kind is unknown, or its values are none of it.
    """
    if kind not in KINDS:
        raise OptionError(f"{name}: unknown range '{kind}'{nearest(kind, KINDS)}; there are "
                          f"{', '.join(KINDS)}")  # fmt: skip
    values = tuple(values) if isinstance(values, (list, tuple)) else (values,)
    if kind == "choice":
        if not values:
            raise OptionError(f"{name}: choice without a value")
        return Range(kind, values)
    wanted = 3 if kind == "quniform" else 2
    numbers = all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if len(values) != wanted or not numbers or values[0] > values[1]:
        what = "low, high and step" if wanted == 3 else "low and high"
        raise OptionError(f"{name}: {kind} takes {what}, not {list(values)}")
    if kind == "loguniform" and values[1] > _LARGEST:
        raise OptionError(
            f"{name}: loguniform takes natural logarithms of the bounds, not {list(values)}: "
            "-5,0 is from 0.0067 to 1"
        )
    if wanted == 3 and values[2] <= 0:
        raise OptionError(f"{name}: {kind} takes a step above 0, not {values[2]}")
    return Range(kind, values)


def read_ranges(path: Path) -> dict[str, Range]:
    """Read a params file of RecBole: ``name kind values`` a line, ``#`` begins a comment.

    Raises:
        OptionError: the file is missing or a line is malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"params file '{path}' cannot be read: {reason}") from None
    found: dict[str, Range] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        where = f"params file '{path}', line {number}"
        if match is None:
            raise OptionError(f"{where}: '{text}' is not of the form 'option kind values'")
        name, kind, values = match.groups()
        if name in found:
            raise OptionError(f"{where}: {name} stands there twice")
        try:
            parsed = ast.literal_eval(values)
        except (ValueError, SyntaxError):
            raise OptionError(f"{where}: '{values}' are no values, such as [0.1, 0.2]") from None
        found[name] = range_of(f"{where}: {name}", kind, parsed)
    return found


def drawn(ranges: Mapping[str, Range], trials: int, seed: int) -> list[dict[str, Any]]:
    """Return as many different settings as asked for, or all that there are.

    A grid of choices that has no more settings is taken whole, in its order; else they are drawn,
    the same ones for the same seed.
    """
    names = list(ranges)
    found: dict[str, dict[str, Any]] = {}
    if all(r.kind == "choice" for r in ranges.values()):
        n_settings = math.prod(len(r.values) for r in ranges.values())
        if n_settings <= trials:
            for values in itertools.product(*(r.values for r in ranges.values())):
                found.setdefault(repr(values), dict(zip(names, values)))
            return list(found.values())
    rng = np.random.default_rng(seed)
    for _ in range(_DRAWS * trials):
        setting = {name: ranges[name].draw(rng) for name in names}
        found.setdefault(repr(setting), setting)
        if len(found) == trials:
            break
    return list(found.values())

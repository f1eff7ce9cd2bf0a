"""What a tuning chooses from: the parameters of a file in RecBole's format.

One parameter a line, its name, its kind and its range, as RecBole's ``HyperTuning`` reads them::

    learning_rate loguniform -8,0
    embedding_size choice [64,96,128]
    lambda_intent uniform 0.01,0.1
    n_layers quniform 1,4,1

The bounds of ``loguniform`` are natural logarithms.  A number that ``quniform`` draws stays within
its bounds, and is a whole one where they and its step are.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_darec.errors import OptionError, nearest

__all__ = ["Parameter", "Space", "read_space"]

_NUMBERS = {"uniform": 2, "quniform": 3, "loguniform": 2}
_KINDS = ("choice", *_NUMBERS)
_DIGITS = 12  # of a quantised number: 3 * 0.1 is 0.3


@dataclass(frozen=True)
class Parameter:
    """One option, and what it may be.

    Attributes:
        name: of the option.
        kind: ``choice``, ``uniform``, ``quniform`` or ``loguniform``.
        choices: of a choice.
        low, high: of a range; natural logarithms for ``loguniform``.
        step: of ``quniform``.
        place: where it stands, for messages.
    """

    name: str
    kind: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    place: str = ""

    def value(self, drawn: float) -> Any:
        """Return the option's value for what was drawn: a number, or the position of a choice."""
        if self.kind == "choice":
            return self.choices[int(drawn)]
        if self.kind != "quniform":
            return float(drawn)
        number = min(max(float(drawn), self.low), self.high)
        if all(float(part).is_integer() for part in (self.low, self.high, self.step)):
            return round(number)
        return float(f"{number:.{_DIGITS}g}")

    def examples(self) -> list[Any]:
        """Return its choices, or the ends of its range: what an option must permit."""
        if self.kind == "choice":
            return list(self.choices)
        ends = (self.low, self.high)
        return [self.value(math.exp(end) if self.kind == "loguniform" else end) for end in ends]


@dataclass(frozen=True)
class Space:
    """The parameters of a tuning, in the order of the file."""

    parameters: tuple[Parameter, ...]

    @property
    def n_combinations(self) -> int | None:
        """How many combinations there are, None where a parameter has a range."""
        if any(parameter.kind != "choice" for parameter in self.parameters):
            return None
        return math.prod(len(parameter.choices) for parameter in self.parameters)

    def combination(self, number: int) -> dict[str, float]:
        """Return the point of a combination's number, all of whose parameters are choices."""
        point: dict[str, float] = {}
        for parameter in reversed(self.parameters):
            number, point[parameter.name] = divmod(number, len(parameter.choices))
        return {parameter.name: point[parameter.name] for parameter in self.parameters}

    def values(self, point: Mapping[str, float]) -> dict[str, Any]:
        """Return the options that a point stands for."""
        return {
            parameter.name: parameter.value(point[parameter.name]) for parameter in self.parameters
        }

    def for_hyperopt(self) -> dict[str, Any]:
        """Return it in hyperopt's terms; a choice is drawn as its position."""
        from hyperopt import hp

        found = {}
        for parameter in self.parameters:
            name, low, high = parameter.name, parameter.low, parameter.high
            if parameter.kind == "choice":
                found[name] = hp.choice(name, list(range(len(parameter.choices))))
            elif parameter.kind == "quniform":
                found[name] = hp.quniform(name, low, high, parameter.step)
            else:
                found[name] = getattr(hp, parameter.kind)(name, low, high)
        return found


def read_space(path: Path) -> Space:
    """Read a params file.

    Raises:
        OptionError: it is missing or malformed; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise OptionError(f"params file '{path}' does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"params file '{path}' cannot be read: {error}") from None
    found: dict[str, Parameter] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parameter = _parameter(text.split(maxsplit=2), f"params file '{path}', line {number}")
        if parameter.name in found:
            raise OptionError(
                f"{parameter.place}: '{parameter.name}' stands in {found[parameter.name].place}, "
                "too: leave one out"
            )
        found[parameter.name] = parameter
    if not found:
        raise OptionError(
            f"params file '{path}' names no parameter: write one a line, as in "
            "'learning_rate loguniform -8,-4'"
        )
    return Space(tuple(found.values()))


def _parameter(words: Sequence[str], place: str) -> Parameter:
    if len(words) < 3:
        raise OptionError(
            f"{place}: '{' '.join(words)}' is not name, kind and range: write "
            "'learning_rate choice [0.001,0.0005]'"
        )
    name, kind, text = words
    if kind not in _KINDS:
        raise OptionError(
            f"{place}: unknown kind '{kind}'{nearest(kind, _KINDS)}; there are {', '.join(_KINDS)}"
        )
    if kind == "choice":
        return Parameter(name, kind, choices=_choices(text, place), place=place)
    return Parameter(name, kind, **_range(kind, text, place), place=place)


def _choices(text: str, place: str) -> tuple[Any, ...]:
    try:
        given = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        given = None
    if not isinstance(given, (list, tuple)) or not given:
        raise OptionError(f"{place}: '{text}' is no list of choices: write [64,128] or ['a','b']")
    return tuple(given)


def _range(kind: str, text: str, place: str) -> dict[str, float]:
    wanted = _NUMBERS[kind]
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != wanted or not all(map(math.isfinite, numbers)):
        form = "low,high,step" if wanted == 3 else "low,high"
        raise OptionError(f"{place}: {kind} takes {form}, not '{text}'")
    low, high = numbers[:2]
    if low >= high:
        raise OptionError(f"{place}: the range from {low:g} to {high:g} is empty")
    if kind == "loguniform" and high > math.log(1e300):
        raise OptionError(
            f"{place}: loguniform takes natural logarithms, and e^{high:g} is no number"
        )
    if wanted == 2:
        return {"low": low, "high": high}
    if not 0 < numbers[2] <= high - low:
        raise OptionError(f"{place}: the step {numbers[2]:g} does not fit into {low:g} to {high:g}")
    return {"low": low, "high": high, "step": numbers[2]}

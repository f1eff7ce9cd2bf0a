"""What tokens cost, from a price table with its date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recbole_darec.errors import OptionError
from recbole_darec.resources import properties_dir

__all__ = ["Price", "read_price"]

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """The price of one model.

    Attributes:
        model: its name in the table.
        input, output: US dollars for a million tokens.
        factor: what is paid of it, below 1 for the Batch API.
        date: the table's date.
    """

    model: str
    input: float
    output: float
    factor: float
    date: str

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return US dollars."""
        paid = prompt_tokens * self.input + completion_tokens * self.output
        return self.factor * paid / _MILLION


def read_price(model: str, path: Path | None = None, batch: bool = False) -> Price | None:
    """Return the price of ``model``, or None where the table has none.

    A dated name (``gpt-4o-mini-2024-07-18``) has the price of the name without the date, if the
    table has no line of its own for it.

    Args:
        model: the model's name.
        path: a yaml file with ``date``, ``batch_factor`` and ``models``; by default the package's
            own.
        batch: whether the Batch API is used.

    Raises:
        OptionError: the file is missing or not of that form.
    """
    path = path or properties_dir() / "llm" / "prices.yaml"
    table = _read(path)
    models = table["models"]
    known = [name for name in models if model == name or _dated(model, name)]
    if not known:
        return None
    name = max(known, key=len)
    prices = models[name]
    return Price(
        name,
        _number(path, name, prices, "input", None),
        _number(path, name, prices, "output", 0.0),
        _number(path, "batch_factor", table, "batch_factor", 1.0) if batch else 1.0,
        str(table.get("date", "undated")),
    )


def _dated(model: str, name: str) -> bool:
    rest = model[len(name) :]
    return model.startswith(name) and rest.startswith("-") and rest[1:].replace("-", "").isdigit()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(
            f"the price table {path} cannot be read: {error.strerror or error}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OptionError(f"the price table {path} is not yaml: {error}") from None
    models = table.get("models") if isinstance(table, dict) else None
    if not isinstance(models, dict) or not all(isinstance(v, dict) for v in models.values()):
        raise OptionError(
            f"the price table {path} needs 'models: {{NAME: {{input: 0.15, output: 0.60}}}}'"
        )
    return {**table, "models": {str(name): prices for name, prices in models.items()}}


def _number(
    path: Path, name: str, values: Mapping[str, Any], key: str, default: float | None
) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise OptionError(f"the price table {path}: {key} of {name} is {value!r}, not a price")
    return float(value)

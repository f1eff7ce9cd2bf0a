"""Where the package's own property files and sample data are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from recbole_darec.errors import UserError

__all__ = ["atomic_data_dir", "properties_dir"]

_PACKAGE = Path(__file__).resolve().parent


def properties_dir() -> Path:
    """Return the folder ``properties/``."""
    return _resource("properties")


def atomic_data_dir() -> Path:
    """Return the folder ``atomic_data/``."""
    return _resource("atomic_data")


def _resource(name: str) -> Path:
    # A wheel carries the folder inside the package; a checkout has it beside the package.
    for place in (_PACKAGE / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise UserError(f"the folder '{name}' of recbole_darec is missing: install the package again")

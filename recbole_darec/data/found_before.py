"""What runs have found on a data set, kept for later ones: plain numbers in one JSON file."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from recbole_darec.data.files import replacing

__all__ = ["FoundBefore"]

_MOST = 1000
_log = logging.getLogger(__name__)


class FoundBefore:
    """Lists of numbers by key; the newest thousand.

    The file may be deleted at any time, and one that is damaged is begun anew.  Of two processes
    that write at once one may lose what it found, and finds it again.

    Args:
        path: of the file; its folder need not be one that can be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told = False

    def get(self, key: str) -> list[float] | None:
        """Return what was kept under ``key``, None where there is nothing."""
        return self._read().get(key)

    def keep(self, key: str, numbers: Sequence[float]) -> None:
        """Keep numbers under ``key``; where that fails it is logged."""
        found = {**self._read(), key: list(map(float, numbers))}
        newest = dict(list(found.items())[-_MOST:])
        try:
            with replacing(self.path) as file:
                file.write(json.dumps(newest, indent=0).encode() + b"\n")
        except OSError as error:
            _log.info(f"{self.path} cannot be written: {error.strerror or error}")

    def _read(self) -> dict[str, list[float]]:
        try:
            found = json.loads(self.path.read_bytes())
            return {key: [float(n) for n in numbers] for key, numbers in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            if not self._told:
                _log.warning(f"{self.path} is damaged and is begun anew: {error}")
            self._told = True
            return {}

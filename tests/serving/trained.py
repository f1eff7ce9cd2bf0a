"""What the tests of this folder have of one trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trained:
    """A model of the tiny data set: the folder that it was trained in, and its checkpoint."""

    folder: Path
    checkpoint: Path

    @property
    def data(self) -> Path:
        """The folder of the atomic files."""
        return self.folder / "dataset" / "tiny"

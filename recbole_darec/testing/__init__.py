"""Contract tests for your own aligner or backbone, and the tiny data set that they run on.

A test is three lines, in any project and without a ``conftest.py``::

    from recbole_darec.testing import AlignerContract

    class TestMine(AlignerContract):
        align = MyAligner

Needs pytest, which the extra ``test`` installs; nothing else in the package imports this folder.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recbole_darec.errors import MissingExtraError

try:
    import pytest
except ModuleNotFoundError:
    raise MissingExtraError("pytest", "test") from None

if TYPE_CHECKING:
    from recbole_darec.testing.aligner_contract import AlignerContract
    from recbole_darec.testing.backbone_contract import BackboneContract
    from recbole_darec.testing.expert_contract import ExpertAlignerContract
    from recbole_darec.testing.sequential_contract import SequentialBackboneContract
    from recbole_darec.testing.tiny_dataset import TinyDataset, write_tiny
    from recbole_darec.testing.tiny_sequences import write_tiny_sequences

__all__ = [
    "AlignerContract",
    "BackboneContract",
    "ExpertAlignerContract",
    "SequentialBackboneContract",
    "TinyDataset",
    "write_tiny",
    "write_tiny_sequences",
]

# An aligner is tested on tensors alone, without the seconds that an import of RecBole takes.
_HOMES = {
    "AlignerContract": "recbole_darec.testing.aligner_contract",
    "BackboneContract": "recbole_darec.testing.backbone_contract",
    "ExpertAlignerContract": "recbole_darec.testing.expert_contract",
    "SequentialBackboneContract": "recbole_darec.testing.sequential_contract",
    "TinyDataset": "recbole_darec.testing.tiny_dataset",
    "write_tiny": "recbole_darec.testing.tiny_dataset",
    "write_tiny_sequences": "recbole_darec.testing.tiny_sequences",
}

# A failed assertion then shows its values, as it does in a test's own file.
pytest.register_assert_rewrite(*(home for home in _HOMES.values() if home.endswith("_contract")))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recbole_darec.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""Text encoders: profiles in, rows of the matrix E^L out.

The public names are imported when they are first used, so that the command line can read the
encoders' options without NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_darec.encoders.base import Encoded, Encoder
    from recbole_darec.encoders.options import EncoderOptions
    from recbole_darec.encoders.parse import parse_encoder
    from recbole_darec.encoders.texts import encode_texts

__all__ = ["Encoded", "Encoder", "EncoderOptions", "encode_texts", "parse_encoder"]

_HOMES = {
    "Encoded": "base",
    "Encoder": "base",
    "EncoderOptions": "options",
    "encode_texts": "texts",
    "parse_encoder": "parse",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

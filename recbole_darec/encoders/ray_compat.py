"""Ray Data of Ray 2.6.3, the newest that RecBole 1.2.1 allows, beside today's packages.

It reads three names at import that newer packages removed, and uses none for plain columns:

- ``pkg_resources._vendor.packaging``, gone with setuptools 71 (torch asks for a newer one);
- ``pyarrow.PyExtensionType``, gone with pyarrow 21; Ray's own tensor columns derive from it;
- ``pandas.io.formats.format.ExtensionArrayFormatter``, which has an underscore since pandas 2.2.

They are put back before Ray Data is imported, in the driver and, since a worker unpickles
:mod:`recbole_darec.encoders.ray_workers`, in each worker.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["mend_ray_data"]

_VENDORED = "pkg_resources._vendor"


def mend_ray_data() -> None:
    """Put the names back where they are missing; a second call changes nothing."""
    _mend_vendored()
    _mend_extension_type()
    _mend_formatter()


def _mend_vendored() -> None:
    try:
        importlib.import_module(f"{_VENDORED}.packaging.version")
    except ImportError:
        import packaging.version

        above = ModuleType(_VENDORED)
        above.__path__ = []
        sys.modules.setdefault(_VENDORED, above)
        sys.modules[f"{_VENDORED}.packaging"] = packaging
        sys.modules[f"{_VENDORED}.packaging.version"] = packaging.version


def _mend_extension_type() -> None:
    import pyarrow

    named: Any = pyarrow
    if hasattr(named, "PyExtensionType"):
        return

    class PyExtensionType(named.ExtensionType):
        """A type without a name of its own; none is ever made here."""

        def __arrow_ext_serialize__(self) -> bytes:
            raise NotImplementedError("tensor columns need pyarrow below 21")

    named.PyExtensionType = PyExtensionType


def _mend_formatter() -> None:
    formats: Any = importlib.import_module("pandas.io.formats.format")
    if not hasattr(formats, "ExtensionArrayFormatter"):
        formats.ExtensionArrayFormatter = formats._ExtensionArrayFormatter

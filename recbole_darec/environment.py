"""What this package needs around it, and the one command that mends what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

from recbole_darec.errors import UserError, first_line

__all__ = ["RECBOLE", "EnvironmentFault", "import_recbole", "recbole_dir"]

RECBOLE = "1.2.1"
_OLDEST_NUMPY = (1, 22)

# Names of modules whose packages are called otherwise, or must have this version.
_PACKAGES = {
    "colorama": "colorama==0.4.4",
    "colorlog": "colorlog==4.7.2",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}


class EnvironmentFault(UserError):
    """RecBole, or what it needs, is missing, broken, or of a version that does not work here."""


def install_recbole() -> str:
    """Return the command that installs RecBole on this Python."""
    # From 3.12 on pip finds no ray for RecBole's own requirements; this package names the others.
    no_deps = "--no-deps " if sys.version_info >= (3, 12) else ""
    return f"pip install {no_deps}recbole=={RECBOLE}"


@cache
def recbole_dir() -> Path:
    """Return the folder of the installed RecBole, without importing it (that takes seconds).

    Raises:
        EnvironmentFault: RecBole is not installed, or of another version.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentFault(f"RecBole is not installed: {install_recbole()}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        text = (folder / "__init__.py").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"""__version__\s*=\s*["']v?([^"']+)""", text)
    version = found[1] if found else "of an unknown version"
    if version != RECBOLE:
        raise EnvironmentFault(
            f"RecBole {version} is installed, and this package works with {RECBOLE}: "
            f"{install_recbole()}"
        )
    return folder


def import_recbole() -> None:
    """Import RecBole's base once, so that what it lacks is told in one line.

    Raises:
        EnvironmentFault: RecBole is not there, or cannot be imported; the message has the command.
    """
    recbole_dir()
    import numpy as np

    version = tuple(int(part) for part in np.__version__.split(".")[:2])
    if version < _OLDEST_NUMPY:
        wanted = "numpy>=2" if sys.version_info >= (3, 12) else "numpy>=1.22,<2"
        raise EnvironmentFault(f"NumPy {np.__version__} is too old: pip install '{wanted}'")
    try:
        importlib.import_module("recbole.config")
        importlib.import_module("recbole.data.utils")
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        raise EnvironmentFault(
            f"RecBole needs the package '{name}', which is not installed: "
            f"pip install {_PACKAGES.get(name, name)}"
        ) from error
    except Exception as error:  # whatever a broken or foreign package raises while it is imported
        raise EnvironmentFault(
            f"RecBole cannot be imported ({type(error).__name__}: {first_line(error)}); install "
            f"versions that were tested together: pip install -c constraints.txt {_reinstalled()}"
        ) from error


def _reinstalled() -> str:
    """Return what to install again, upgraded or downgraded to the constraints."""
    names = ["numpy", "pandas", "scipy", "torch"]
    return " ".join(names if sys.version_info >= (3, 12) else ["recbole", *names])

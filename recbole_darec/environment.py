"""What this package needs around it, and the one command that mends what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from functools import cache
from pathlib import Path

from recbole_darec.errors import UserError, first_line

__all__ = ["RECBOLE", "EnvironmentFault", "fault_of", "import_recbole", "recbole_dir"]

RECBOLE = "1.2.1"
_OLDEST_NUMPY = (1, 22)

# What RecBole imports, and the packages that have it.  A module that is not here belongs to another
# of them, and its name need not be its package's: protobuf has `google`, google is something else.
_PACKAGES = {
    "colorama": "colorama==0.4.4",
    "colorlog": "colorlog==4.7.2",
    "pandas": "pandas",
    "plotly": "plotly",
    "psutil": "psutil",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tabulate": "tabulate",
    "tensorboard": "tensorboard",
    "texttable": "texttable",
    "thop": "thop",
    "tqdm": "tqdm",
    "yaml": "PyYAML",
}

# What RecBole is broken by, within the bounds of setup.py.  Without their requirements, so that the
# command stays small and resolves on every Python; pandas 2 is the one that needs a package more.
_PINNED = "'numpy>=1.22,<2' 'pandas>=1.5,<2.3' 'scipy>=1.8,<1.14' scikit-learn protobuf pytz"
_CURRENT = "'numpy>=2' 'pandas>=3' 'scipy>=1.17' scikit-learn protobuf"

# What everything here stands on, RecBole apart.
_GROUND = ("numpy", "scipy", "pandas", "torch", "pydantic", "yaml")


class EnvironmentFault(UserError):
    """RecBole, or what it needs, is missing, broken, or of a version that does not work here."""


def install_recbole() -> str:
    """Return the command that installs RecBole on this Python."""
    # From 3.12 on pip finds no ray for RecBole's own requirements; this package names the others.
    no_deps = "--no-deps " if sys.version_info >= (3, 12) else ""
    return f"pip install {no_deps}recbole=={RECBOLE}"


def reinstall_recbole() -> str:
    """Return the command that installs RecBole again, with what breaks it by its version."""
    versions = _CURRENT if sys.version_info >= (3, 12) else _PINNED
    return f"pip install --force-reinstall --no-deps recbole=={RECBOLE} {versions}"


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
    except Exception as error:  # whatever a broken or foreign package raises while it is imported
        # RecBole imports torch.
        ground = fault_of(error) if isinstance(error, (ImportError, OSError)) else None
        if ground is not None:
            raise ground from error
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        if name in _PACKAGES:
            raise EnvironmentFault(
                f"RecBole needs the package '{name}', which is not installed: "
                f"pip install {_PACKAGES[name]}"
            ) from error
        raise EnvironmentFault(
            f"RecBole cannot be imported ({type(error).__name__}: {first_line(error)}): "
            f"{reinstall_recbole()}"
        ) from error


def fault_of(error: ImportError | OSError) -> EnvironmentFault | None:
    """Return what to say of a package that this one stands on and that cannot be imported.

    Args:
        error: left an import; with libraries that do not load, torch raises an OSError.

    Returns:
        None where the error has another cause.
    """
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing in _GROUND:
        package = _PACKAGES.get(missing, missing)
        return EnvironmentFault(f"'{missing}' is not installed: pip install {package}")
    # The innermost package whose own __init__ fails: torch imports NumPy.
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [f.f_globals.get("__name__") for f in frames if f.f_code.co_name == "<module>"]
    broken = [name for name in modules if name in _GROUND]
    if not broken:
        return None
    return EnvironmentFault(
        f"'{broken[-1]}' cannot be imported ({type(error).__name__}: {first_line(error)}): "
        f"pip install --force-reinstall --no-deps {_PACKAGES.get(broken[-1], broken[-1])}"
    )

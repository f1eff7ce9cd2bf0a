"""NumPy's former names, put back before RecBole is imported, and whether it can be."""

from __future__ import annotations

import numpy as np

from recbole_darec.environment import import_recbole

# RecBole's Config assigns np.float = np.float_ and the like; NumPy 2 took the right-hand sides
# away.  Put back before RecBole is imported, where they are missing.
for _alias, _type in {"float_": "float64", "complex_": "complex128", "unicode_": "str_"}.items():
    if not hasattr(np, _alias):
        setattr(np, _alias, getattr(np, _type))
# Asking NumPy 1 whether it has bool8 makes it warn.
if int(np.__version__.split(".")[0]) >= 2:  # for ray 2.6, which recbole.quick_start imports
    np.bool8 = np.bool_  # type: ignore[attr-defined]

import_recbole()

"""recbole_darec: language-model knowledge in RecBole's recommenders.

The public names are imported when they are first used: ``import recbole_darec`` costs nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_darec.aligned.recommender import AlignedRecommender, DaRecMixin
    from recbole_darec.cold_items import evaluate_cold_items
    from recbole_darec.errors import UserError
    from recbole_darec.loaded import evaluate_checkpoint, load_data_and_model
    from recbole_darec.run import make_data_and_model, objective_function, run_recbole_darec
    from recbole_darec.serving.explain import explain
    from recbole_darec.serving.export import export
    from recbole_darec.serving.recommend import recommend, similar_items, similar_users

if sys.version_info < (3, 10):
    _old = "this is Python %d.%d, and recbole_darec needs 3.10 or newer" % sys.version_info[:2]
    if sys.argv[:1] == ["-m"]:  # what `python -m` puts there while it looks for the module
        sys.stderr.write("error: " + _old + ": make run PYTHON=python3.12\n")
        sys.exit(2)
    raise ImportError(_old)

__version__ = "0.1.0"

# torch's CPU threads spin while they wait for each other; where other processes want the cores too,
# an epoch of many small steps then takes tens of times longer.  Read by the OpenMP runtime when
# torch is first imported; a value that the user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = [
    "AlignedRecommender",
    "DaRecMixin",
    "UserError",
    "evaluate_checkpoint",
    "evaluate_cold_items",
    "explain",
    "export",
    "load_data_and_model",
    "make_data_and_model",
    "objective_function",
    "recommend",
    "run_recbole_darec",
    "similar_items",
    "similar_users",
]

_HOMES = {
    "AlignedRecommender": "recbole_darec.aligned.recommender",
    "DaRecMixin": "recbole_darec.aligned.recommender",
    "UserError": "recbole_darec.errors",
    "evaluate_checkpoint": "recbole_darec.loaded",
    "evaluate_cold_items": "recbole_darec.cold_items",
    "explain": "recbole_darec.serving.explain",
    "export": "recbole_darec.serving.export",
    "load_data_and_model": "recbole_darec.loaded",
    "make_data_and_model": "recbole_darec.run",
    "objective_function": "recbole_darec.run",
    "recommend": "recbole_darec.serving.recommend",
    "run_recbole_darec": "recbole_darec.run",
    "similar_items": "recbole_darec.serving.recommend",
    "similar_users": "recbole_darec.serving.recommend",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recbole_darec' has no attribute '{name}'")
    if name != "UserError":
        # RecBole and NumPy must be reconciled before any of RecBole is imported.
        importlib.import_module("recbole_darec.recbole_compat.numpy_names")
    return getattr(importlib.import_module(_HOMES[name]), name)

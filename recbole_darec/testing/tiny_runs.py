"""Quick runs on the tiny data set, and what is compared between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

__all__ = ["QUICK", "one_batch", "options", "outcome", "parameters", "prepared", "scores"]

# A run of a moment: 360 training interactions in 6 steps an epoch.
QUICK: dict[str, Any] = {
    "epochs": 2,
    "embedding_size": 8,
    "n_layers": 2,
    "train_batch_size": 64,
    "learning_rate": 0.01,
    "align_width": 8,
    "align_mlp_hidden": [8],
    "align_sample": 64,
    "metrics": ["Recall", "NDCG", "MRR"],
    "topk": [5, 10],
    "valid_metric": "Recall@10",
    "show_progress": False,
    "state": "INFO",
}


def options(data_path: Path, **changed: Any) -> dict[str, Any]:
    """Return the options of a quick run on the data set under ``data_path``."""
    quick = QUICK
    if "darec" not in str(changed.get("align", "darec")) and changed.get("align") != "none":
        quick = {name: value for name, value in QUICK.items() if not name.startswith("align_")}
    return {**quick, "data_path": str(data_path), **changed}


def prepared(data_path: Path, model: Any = "LightGCN", **changed: Any) -> Prepared:
    """Return everything of a quick run but its training; ``model`` is a name or a class."""
    return prepare(resolve(model, "tiny", None, options(data_path, **changed)))


def one_batch(run: Prepared) -> Any:
    """Return the first training batch, on the model's device."""
    return next(iter(run.train_data)).to(run.config["device"])


def scores(run: Any) -> Tensor:
    """Return the scores ``[test users, items]``, padding item first, of the model in evaluation."""
    run.model.eval()
    with torch.no_grad():
        users = run.test_data.user_df.to(run.config["device"])
        return run.model.full_sort_predict(users).view(len(users), -1)


def parameters(model: Any) -> dict[str, Tensor]:
    """Return a copy of everything that a checkpoint of ``model`` would hold."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def outcome(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what must be equal between two runs of the same options."""
    assert result is not None
    names = ("best_epoch", "best_valid_score", "best_valid_result", "test_result")
    return {name: result[name] for name in names}

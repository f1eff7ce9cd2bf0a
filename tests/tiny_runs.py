"""Runs on the tiny data set, in this process or in a clean one that can be killed.

A clean process is forked from a server that has imported the package and nothing else: as fresh as
a new interpreter, without its seconds of imports.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

# Sums of other numbers of threads differ in the last digit, and clean processes have one.
torch.set_num_threads(1)

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
    """Options of a quick run on the data set under ``data_path``."""
    return {**QUICK, "data_path": str(data_path), **changed}


def prepared(data_path: Path, model: Any = "LightGCN", **changed: Any) -> Prepared:
    """Everything of a quick run but its training."""
    return prepare(resolve(model, "tiny", None, options(data_path, **changed)))


def one_batch(run: Prepared) -> Any:
    """The first training batch, on the model's device."""
    return next(iter(run.train_data)).to(run.config["device"])


def scores(run: Any) -> torch.Tensor:
    """Scores of all items for all test users, by the model in evaluation."""
    run.model.eval()
    with torch.no_grad():
        users = run.test_data.user_df.to(run.config["device"])
        return run.model.full_sort_predict(users).view(len(users), -1)


def parameters(model: Any) -> dict[str, torch.Tensor]:
    """A copy of everything that a checkpoint of ``model`` would hold."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# ---- clean processes -------------------------------------------------------------------------


def in_clean_process(task: Callable[..., Any], folder: Path, *args: Any) -> tuple[int, Any]:
    """Run ``task(*args)`` in a clean process in ``folder``.

    Returns:
        The exit code (negative: the signal that ended it) and the result, None if there was none.
        The result travels as JSON, in which a float comes back as the very same float.
    """
    context = multiprocessing.get_context("forkserver")
    # PyTorch imports _dynamo when an optimiser is made, which takes seconds.
    modules = ["recbole_darec.run", "recbole_darec.backbones.lightgcn", "torch._dynamo", __name__]
    context.set_forkserver_preload(modules)
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "answer.json"
    # Read when the server starts; it needs the path to import what it is to have ready.
    wanted = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with mock.patch.dict(os.environ, wanted):
        process = context.Process(target=_child, args=(task, str(folder), str(answer), args))
        process.start()
    process.join(240)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{task.__name__} did not end")
    result = json.loads(answer.read_text()) if answer.is_file() else None
    answer.unlink() if answer.is_file() else None
    return process.exitcode, result


def _child(task: Callable[..., Any], folder: str, answer: str, args: tuple[Any, ...]) -> None:
    os.chdir(folder)
    torch.set_num_threads(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    result = task(*args)
    Path(answer).write_text(json.dumps(result))


def train(
    data_path: str, changed: Mapping[str, Any], model: str = "LightGCN", saved: bool = True
) -> dict[str, Any]:
    """A whole run; a task for :func:`in_clean_process`."""
    from recbole_darec import run_recbole_darec

    result = run_recbole_darec(
        model, "tiny", config_dict=options(Path(data_path), **changed), saved=saved
    )
    return plain_result(result)


def plain_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """A run's result as JSON has it; floats keep all their digits."""
    return json.loads(json.dumps({k: _plain(v) for k, v in result.items()}))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: float(v) for k, v in value.items()}
    return value


def outcome(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """What must be equal between two runs of the same options."""
    assert result is not None
    names = ("best_epoch", "best_valid_score", "best_valid_result", "test_result")
    return {name: result[name] for name in names}

"""Runs on the tiny data set, in this process or in a clean one that can be killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from warm import begin

from recbole_darec.backbones.closed_form.base import ClosedFormRecommender
from recbole_darec.backbones.registry import BACKBONES, backbone_class, backbone_family
from recbole_darec.testing.tiny_runs import (
    QUICK,
    one_batch,
    options,
    outcome,
    parameters,
    prepared,
    scores,
)

# Ours that learn users and items; those in closed form have no embeddings.
EMBEDDING_BACKBONES = [
    name
    for name in BACKBONES
    if backbone_family(name) == "general"
    and not issubclass(backbone_class(name), ClosedFormRecommender)
]

# Sums of other numbers of threads differ in the last digit, and clean processes have one.
torch.set_num_threads(1)

__all__ = [
    "EMBEDDING_BACKBONES",
    "QUICK",
    "in_clean_process",
    "one_batch",
    "options",
    "outcome",
    "parameters",
    "plain_result",
    "prepared",
    "scores",
    "train",
]


def in_clean_process(task: Callable[..., Any], folder: Path, *args: Any) -> tuple[int, Any]:
    """Run ``task(*args)`` in a clean process in ``folder``.

    Returns:
        The exit code (negative: the signal that ended it) and the result, None if there was none.
        The result travels as JSON, in which a float comes back as the very same float.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "answer.json"
    process = begin(_child, task, str(folder), str(answer), args)
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

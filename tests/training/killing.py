"""Runs that end by SIGKILL at a chosen moment, in a clean process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tiny_runs import train

# (kind, number): what happens for the n-th time when the process dies; ("time", seconds); or
# ("end", n + seconds): so long after the n-th phase has ended, the seconds below 1.
Moment = tuple[str, float]


def train_until(
    data_path: str, changed: Mapping[str, Any], moment: Moment, model: Any = "LightGCN"
) -> dict[str, Any]:
    """Train as :func:`tiny_runs.train`, and die at ``moment`` if it comes."""
    kind, number = moment
    if kind == "time":
        threading.Timer(number, die).start()
    elif kind == "step":  # in the middle of an epoch, the loss known and no step taken
        from recbole_darec.aligned.experts import ExpertRecommender
        from recbole_darec.aligned.recommender import AlignedRecommender

        for owner in (AlignedRecommender, ExpertRecommender):  # each has a step of its own
            _at(owner, "calculate_loss", number, after=True)
    elif kind == "writing":  # half of a file is on the disk, under its temporary name
        import torch

        _at(torch, "save", number, after=True, then=_cut_in_half)
    elif kind == "written":  # right after a checkpoint or a snapshot has got its name
        _at(os, "replace", number, after=True)
    elif kind == "end":
        _after_the_end(int(number), number - int(number))
    elif kind == "evaluation":  # before a validation, or the final test
        from recbole_darec.training.trainer import ResumableTrainer

        _at(ResumableTrainer, "evaluate", number, after=False)
    else:
        raise ValueError(kind)
    return train(data_path, changed, model)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after_the_end(phase: int, seconds: float) -> None:
    from recbole_darec.training.phases import Phases
    from recbole_darec.training.snapshots import Snapshots

    def start(*_: Any) -> None:
        threading.Timer(seconds, die).start()

    # Every phase but the last ends where the next one begins.
    owner, name, call = (Snapshots, "end_fit", 1) if phase == 3 else (Phases, "begin_next", phase)
    _before(owner, name, call, start)


def _before(owner: Any, name: str, number: int, then: Callable[..., None]) -> None:
    plain: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            then()
        return plain(*args, **kwargs)

    setattr(owner, name, counted)


def _cut_in_half(_: Any, file: Any) -> None:
    file.flush()
    os.ftruncate(file.fileno(), file.tell() // 2)


def _at(
    owner: Any,
    name: str,
    number: float,
    *,
    after: bool,
    then: Callable[..., None] = lambda *_: None,
) -> None:
    plain: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            die()
        result = plain(*args, **kwargs)
        if calls == number:
            then(*args)
            die()
        return result

    setattr(owner, name, counted)

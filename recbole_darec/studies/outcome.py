"""What comes of a run: as a worker hands it over, and as its folder keeps it until it is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.files import replacing

__all__ = [
    "CURVE",
    "FIRST_PHASE",
    "MODEL",
    "Outcome",
    "Taken",
    "Task",
    "leave",
    "read_outcome",
    "remove_leftovers",
    "remove_outcome",
    "seconds_of",
]

MODEL = "model.pth"
"""The best model of a run, in its folder."""

CURVE = "curve.jsonl"
"""What a run notes of its epochs while it goes on."""

FIRST_PHASE = "first_phase.pth"
"""The best model of a run's own first phase, where others are to take it."""

_FILE = "outcome.json"
_USERS = "users.npz"


@dataclass(frozen=True)
class Taken:
    """A training that a run takes from another one, as that run's own would be.

    Attributes:
        file: the best model of it.
        seconds: how long it took.
        curve: its epochs.
        whole: whether it is all of the run's training, or the first phase.
    """

    file: str
    seconds: float
    curve: list[dict[str, Any]]
    whole: bool


@dataclass(frozen=True)
class Task:
    """What a worker needs: resolved settings, and a folder; nothing of the driver.

    Attributes:
        key: of the run.
        model, dataset, align, values: its settings.
        folder: of its own: log, snapshots, and its outcome.
        keep_model: whether its best model stays.
        keep_phase: whether the outcome of its first phase stays, where it trains one.
        slot: number of its place among those that work at a time; decides its GPU.
        taken: what it is not to train itself, None where that is nothing.
    """

    key: str
    model: str
    dataset: str
    align: str
    values: Mapping[str, Any]
    folder: str
    keep_model: bool
    keep_phase: bool = False
    slot: int = 0
    taken: Taken | None = None

    def as_text(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Task:
        """Return the task that such a line holds."""
        values = json.loads(text)
        taken = values.pop("taken")
        return cls(**values, taken=None if taken is None else Taken(**taken))


@dataclass(frozen=True)
class Outcome:
    """What comes of a run.

    Attributes:
        state: ``done`` or ``failed``.
        reason: why it failed, in one line.
        valid, test: metrics by name, unrounded.
        best_epoch: the epoch with the best validation, from 0.
        chosen: weights that the run found by itself, such as the text filter's.
        groups: test metrics by training frequency of users and of items.
        curve: its epochs, those of a training that it took, too.
        seconds: the run's time, and that of a training that it took, without its imports and the
            parts before a kill.
        model_file: the best model, where it is kept.
        users: metrics by user.
    """

    state: str
    reason: str | None = None
    valid: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    chosen: dict[str, float] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    model_file: str | None = None
    users: dict[str, np.ndarray] | None = None


def seconds_of(epoch: Mapping[str, Any]) -> float:
    """Return how long an epoch of a curve took with its validation."""
    return float(epoch.get("seconds", 0.0)) + float(epoch.get("valid_seconds", 0.0))


def leave(outcome: Outcome, folder: Path) -> None:
    """Write an outcome into a run's folder, and then remove what the run could go on from.

    The outcome is there when all of it is.
    """
    if outcome.users is not None:
        with replacing(folder / _USERS) as file:
            np.savez(file, **outcome.users)  # type: ignore[arg-type]
    values = {**vars(outcome), "users": outcome.users is not None}
    with replacing(folder / _FILE) as file:
        file.write(json.dumps(values).encode())
    remove_leftovers(outcome, folder)


def remove_leftovers(outcome: Outcome, folder: Path) -> None:
    """Remove what a run that is done could have gone on from; its worker may have been killed."""
    if outcome.state != "done":
        return
    # A phase's file is the model's, with the phase's name before the suffix.
    left = [folder / CURVE, *folder.glob("*.resume"), *folder.glob("model.*.pth")]
    if outcome.model_file is None:
        left.append(folder / MODEL)
    for path in (*left, *folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def read_outcome(folder: Path) -> Outcome | None:
    """Return the outcome in a run's folder, None where there is none."""
    path = folder / _FILE
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    users = None
    if values.pop("users"):
        with np.load(folder / _USERS, allow_pickle=False) as arrays:
            users = {name: arrays[name] for name in arrays.files}
    return Outcome(**values, users=users)


def remove_outcome(folder: Path) -> None:
    """Remove it: it is in the store, or the run is to be done anew."""
    for name in (_FILE, _USERS):
        (folder / name).unlink(missing_ok=True)

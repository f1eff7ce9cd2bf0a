"""What says that two runs are one, or that a file belongs to a run: model, options, data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import CheckpointError
from recbole_darec.settings.run_options import WITHOUT_EFFECT
from recbole_darec.training.checkpoint import plain

__all__ = ["RunIdentity", "data_fingerprint"]

# Options that decide when a run ends, and nothing of what it does until then.
_OF_LENGTH = frozenset({"epochs", "stopping_step"})


@dataclass(frozen=True)
class RunIdentity:
    """Which run it is; every file that the run writes says so.

    Attributes:
        model: name of the backbone.
        align: name of the aligner.
        dataset: name of the data set.
        own_class: name of the class that the caller gave instead of a registered name, or None.
        settings: every option of the run, plain values, from which a later process makes the same
            model.
        data: what :func:`data_fingerprint` returns.
        later_defaults: defaults of the options that files of older versions lack; at its default
            such an option does not tell two runs apart.
    """

    model: str
    align: str
    dataset: str
    own_class: str | None
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    later_defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A short digest of everything that decides the run's outcome but the data."""
        return self._digest(self.own_class or self.model, self.settings)

    @property
    def fingerprint_of_any_length(self) -> str:
        """The same digest of every run that differs only in how long it may train."""
        return self._digest(self.own_class or self.model, self.settings, _OF_LENGTH)

    def entries(self) -> dict[str, Any]:
        """Return what a checkpoint says of its run."""
        return {
            "model": self.model,
            "align": self.align,
            "own_class": self.own_class,
            "settings": plain(self.settings),
            "data": self.data,
        }

    def told(self) -> dict[str, str]:
        """Return what must be the same for all processes that train the model, in words."""
        data = f"{_described(self.data)} ({self.data.get('content')})"
        return {"data": data, "options": self.fingerprint}

    def same_options(self, content: Mapping[str, Any], *, of_any_length: bool = False) -> bool:
        """Tell whether a checkpoint's options are this run's, but for those without effect.

        Args:
            content: what the file holds.
            of_any_length: leave out the options that decide when a run ends, too.
        """
        left_out = _OF_LENGTH if of_any_length else frozenset()
        name = content["own_class"] or content["model"]
        there = self._digest(name, content["settings"], left_out)
        return there == self._digest(self.own_class or self.model, self.settings, left_out)

    def check(self, content: Mapping[str, Any], path: Path) -> None:
        """Refuse a checkpoint of another model or data set.

        Args:
            content: what the file holds.
            path: the file, for messages.

        Raises:
            CheckpointError: model, aligner or data are not this run's.
        """
        for key, here in (("model", self.model), ("align", self.align)):
            if content[key] != here:
                raise CheckpointError(
                    f"checkpoint '{path}' holds {key} '{content[key]}', and this run's is '{here}'"
                )
        if content["data"] != self.data:
            raise CheckpointError(
                f"checkpoint '{path}' was trained on {_described(content['data'])}, and this run "
                f"reads {_described(self.data)}, or others of them; give it the data that it was "
                "trained on"
            )

    def _digest(
        self, name: str, settings: Mapping[str, Any], left_out: frozenset[str] = frozenset()
    ) -> str:
        without = WITHOUT_EFFECT | left_out
        later = self.later_defaults
        kept = {
            key: value
            for key, value in settings.items()
            if key not in without and not (key in later and value == later[key])
        }
        text = json.dumps([name, self.dataset, kept], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def data_fingerprint(dataset: Any, *, ordered: bool = False) -> dict[str, Any]:
    """Return what identifies a data set: its counts and a digest of its ids and interactions.

    Args:
        dataset: RecBole's data set, split.
        ordered: whether the order of a user's interactions is the data, too.
    """
    digest = hashlib.sha256()
    for column in (dataset.uid_field, dataset.iid_field):
        digest.update("\n".join(map(str, dataset.field2id_token[column])).encode())
        digest.update(b"\0")
    users, items = (
        np.asarray(dataset.inter_feat[column], dtype=np.int64)
        for column in (dataset.uid_field, dataset.iid_field)
    )
    pairs = users * int(dataset.item_num) + items
    # Sorted, because a split reorders them.
    digest.update((pairs if ordered else np.sort(pairs)).tobytes())
    return {
        "dataset": str(dataset.dataset_name),
        "users": int(dataset.user_num) - 1,
        "items": int(dataset.item_num) - 1,
        "interactions": len(users),
        "content": digest.hexdigest()[:16],
    }


def _described(data: Mapping[str, Any]) -> str:
    counts = [f"{data.get(name, '?')} {name}" for name in ("users", "items", "interactions")]
    return f"{data.get('dataset')} with {', '.join(counts)}"

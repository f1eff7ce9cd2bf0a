"""The best items for users of a trained model, and the nearest rows of an item or a user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction

from recbole_darec.aligned.vectors import final_tables, score_vectors
from recbole_darec.errors import DataError, OptionError, some
from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.evaluation.sequential_rank import SequentialRankLoader, last_items
from recbole_darec.loaded import LoadedRun, load_run
from recbole_darec.serving.options import EXCLUDED
from recbole_darec.serving.scores import ModelScores, Ranked, Scores, VectorScores, best
from recbole_darec.serving.tokens import Ids, ids_of

__all__ = ["Recommender", "frame_of", "recommend", "similar_items", "similar_users"]

_MEBIBYTE = 1 << 20
_PARTS = {"train": 1, "train_valid": 2, "all": 3, "none": 0}


def recommend(
    model_file: str | Path,
    users: Sequence[str] | None = None,
    k: int = 20,
    *,
    exclude: str = "train",
    exclude_items: Sequence[str] = (),
    only_items: Sequence[str] | None = None,
    unknown: str = "error",
    block_mb: int = 256,
    model: type | None = None,
) -> pd.DataFrame:
    """Return the best items of each user by a trained model.

    Args:
        model_file: a checkpoint that a run wrote.
        users: the users' own ids; None for all of them.
        k: items per user, at most.
        exclude: whose items of a user are left out: ``train``, ``train_valid``, ``all`` or
            ``none``.
        exclude_items: ids of items that nobody is to see.
        only_items: ids of the items to choose from; None for all.
        unknown: what to do about users that the model does not know: ``error``, ``skip``, or
            ``cold``, which gives them the most popular items.
        block_mb: most memory in MiB for the scores of a block of users.
        model: the recommender class, where the run was given a class and not a name.

    Returns:
        Columns ``user_id``, ``rank`` (from 1), ``item_id``, ``score``, in the order of ``users``;
        those that the model does not know come last.

    Raises:
        CheckpointError: the file is damaged, or the data set has changed since.
        DataError: a user or an item is not in the model's data.
        OptionError: ``k`` or another option is out of its range.
    """
    recommender = Recommender.of(model_file, model, block_mb)
    found = recommender.recommend(
        users,
        k,
        exclude=exclude,
        exclude_items=exclude_items,
        only_items=only_items,
        unknown=unknown,
    )
    return pd.concat([frame for frame, _ in found], ignore_index=True)


def similar_items(
    model_file: str | Path,
    items: Sequence[str] | None = None,
    k: int = 20,
    *,
    model: type | None = None,
) -> pd.DataFrame:
    """Return the items whose final embeddings are nearest to those of ``items``, by cosine.

    Args:
        model_file: a checkpoint that a run wrote.
        items: the items' own ids; None for all of them.
        k: neighbours per item.
        model: the recommender class, where the run was given a class and not a name.

    Returns:
        Columns ``item_id``, ``rank`` (from 1), ``similar_item_id``, ``score``.

    Raises:
        CheckpointError, DataError, OptionError: as :func:`recommend`; and where the model has no
            embeddings.
    """
    recommender = Recommender.of(model_file, model)
    return pd.concat([f for f, _ in recommender.similar("item", items, k)], ignore_index=True)


def similar_users(
    model_file: str | Path,
    users: Sequence[str] | None = None,
    k: int = 20,
    *,
    model: type | None = None,
) -> pd.DataFrame:
    """Return the users nearest to ``users``; see :func:`similar_items`.

    Returns:
        Columns ``user_id``, ``rank`` (from 1), ``similar_user_id``, ``score``.
    """
    recommender = Recommender.of(model_file, model)
    return pd.concat([f for f, _ in recommender.similar("user", users, k)], ignore_index=True)


class Recommender:
    """A loaded model that answers in the ids of its data set, block by block.

    Args:
        run: the trained model with its data.
        block_mb: most memory in MiB for the scores of a block.
    """

    def __init__(self, run: LoadedRun, block_mb: int = 256) -> None:
        if block_mb < 1:
            raise OptionError(f"block_mb={block_mb}: must be at least 1")
        self.run = run
        self.users, self.items = ids_of(run.dataset, "user"), ids_of(run.dataset, "item")
        self._block_bytes = block_mb * _MEBIBYTE
        self._vectors = score_vectors(run.model, run.config)

    @classmethod
    def of(
        cls, model_file: str | Path, model: type | None = None, block_mb: int = 256
    ) -> Recommender:
        """Return the recommender of a checkpoint; see :func:`recommend`."""
        return cls(load_run(Path(model_file), {}, model), block_mb)

    def recommend(
        self,
        users: Sequence[str] | None,
        k: int,
        *,
        exclude: str = "train",
        exclude_items: Sequence[str] = (),
        only_items: Sequence[str] | None = None,
        unknown: str = "error",
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Return frames of recommendations with the number of users in each; see `recommend`."""
        if exclude not in EXCLUDED:
            raise OptionError(f"exclude={exclude!r}: one of {', '.join(EXCLUDED)}")
        candidates = self._candidates(exclude_items, only_items)
        _check_k(k, len(candidates), "items to choose from")
        known, cold = self._known(users, unknown)
        hidden = self._hidden(exclude)
        return self._recommended(known, cold, self._scores(candidates), k, hidden)

    def n_rows(self, kind: str, asked: Sequence[str] | None) -> int:
        """Return how many users or items are asked for."""
        ids = self.items if kind == "item" else self.users
        return len(ids) - 1 if asked is None else len(asked)

    def similar(
        self, kind: str, asked: Sequence[str] | None, k: int
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Return frames of neighbours with the number of rows in each; see `similar_items`."""
        ids = self.items if kind == "item" else self.users
        tables = final_tables(self.run.model, self.run.config)
        if tables is None or kind not in tables:
            raise OptionError(
                f"the model '{self.run.config['model']}' has no embeddings of {kind}s to compare"
            )
        _check_k(k, len(ids) - 2, f"other {kind}s")
        if asked is None:
            rows = np.arange(1, len(ids))
        else:
            rows = ids.known_rows(asked, f"similar {kind}s")
        unit = torch.nn.functional.normalize(tables[kind].float(), dim=1)
        scores = VectorScores(unit, unit, np.arange(1, len(ids)))
        itself = UserItems(rows, rows, len(ids), len(ids))
        names = (f"{kind}_id", f"similar_{kind}_id")
        return (
            (frame_of(ids, ids, found, names), len(found.users))
            for found in best(scores, rows, k, itself, self._block_bytes)
        )

    def _recommended(
        self, known: np.ndarray, cold: list[str], scores: Scores, k: int, hidden: UserItems | None
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        names = ("user_id", "item_id")
        for found in best(scores, known, k, hidden, self._block_bytes):
            yield frame_of(self.users, self.items, found, names), len(found.users)
        if cold or not len(known):
            yield self._popular(cold, scores.items.cpu().numpy(), k), len(cold)

    def _scores(self, candidates: np.ndarray) -> Scores:
        if self._vectors is not None:
            return VectorScores(self._vectors["user"], self._vectors["item"], candidates)
        device = torch.device(self.run.config["device"])
        return ModelScores(self.run.model, self._ask, len(self.items), candidates, device)

    def _ask(self, users: np.ndarray) -> Interaction:
        """Return what the model is asked with: users, or all that is known of what they did."""
        if isinstance(self.run.test_data, SequentialRankLoader):
            return last_items(self.run.config, self._parts, users)
        return Interaction({self.run.dataset.uid_field: torch.from_numpy(users)})

    @property
    def _parts(self) -> list[Any]:
        """The training, validation and test part."""
        loaders = (self.run.train_data, self.run.valid_data, self.run.test_data)
        return [getattr(loader, "_dataset", None) or loader.dataset for loader in loaders]

    def _candidates(
        self, exclude_items: Sequence[str], only_items: Sequence[str] | None
    ) -> np.ndarray:
        allowed = np.ones(len(self.items), dtype=bool)
        if only_items is not None:
            allowed[:] = False
            allowed[self.items.known_rows(only_items, "the items to choose from")] = True
        if len(exclude_items):
            allowed[self.items.known_rows(exclude_items, "the items to leave out")] = False
        allowed[0] = False
        return np.flatnonzero(allowed)

    def _known(self, users: Sequence[str] | None, unknown: str) -> tuple[np.ndarray, list[str]]:
        """Return the rows of the users that the model knows, and the ids of the others."""
        if users is None:
            return np.arange(1, len(self.users)), []
        if unknown == "error":
            return self.users.known_rows(users, "the users asked for"), []
        rows = self.users.rows(users)
        others = [str(user) for user, row in zip(users, rows) if row < 0]
        if others:
            what = "left out" if unknown == "skip" else "given the most popular items"
            getLogger().warning(
                f"{len(others):,} of {len(users):,} users are not in the model's data and are "
                f"{what}: {some(others)}"
            )
        rows = rows[rows >= 0]
        if unknown == "cold":
            return rows, others
        if not len(rows):
            raise DataError("none of the users asked for is in the model's data")
        return rows, []

    def _hidden(self, exclude: str) -> UserItems | None:
        features = [part.inter_feat for part in self._parts[: _PARTS[exclude]]]
        if not features:
            return None
        dataset = self.run.dataset
        return UserItems(
            np.concatenate([f[dataset.uid_field].numpy() for f in features]),
            np.concatenate([f[dataset.iid_field].numpy() for f in features]),
            len(self.users),
            len(self.items),
        )

    def _popular(self, users: list[str], candidates: np.ndarray, k: int) -> pd.DataFrame:
        """Return for each user the items with the most training interactions, score their count."""
        part = self._parts[0]
        counts = np.bincount(part.inter_feat[part.iid_field].numpy(), minlength=len(self.items))
        order = np.argsort(-counts[candidates], kind="stable")[:k]
        items = np.tile(candidates[order], (len(users), 1))
        ids = Ids("user", ["", *users])
        scores = counts[items].astype(np.float32).reshape(len(users), -1)
        found = Ranked(np.arange(1, len(ids)), items, scores)
        return frame_of(ids, self.items, found, ("user_id", "item_id"))


def _check_k(k: int, most: int, what: str) -> None:
    if k < 1:
        raise OptionError(f"k={k}: must be at least 1")
    if k > most:
        raise OptionError(f"k={k}: there are only {max(most, 0):,} {what}")


def frame_of(askers: Ids, listed: Ids, found: Ranked, names: tuple[str, str]) -> pd.DataFrame:
    """Return one line per recommendation; lists end before k where nothing else is left.

    Args:
        askers: ids of ``found.users``.
        listed: ids of ``found.items``.
        found: what was ranked.
        names: names of the columns of the askers and of the listed.
    """
    there = ~np.isneginf(found.scores)
    ranks = np.broadcast_to(np.arange(1, there.shape[1] + 1, dtype=np.int32), there.shape)
    return pd.DataFrame(
        {
            names[0]: askers.tokens[np.repeat(found.users, there.sum(axis=1))],
            "rank": ranks[there],
            names[1]: listed.tokens[found.items[there]],
            "score": found.scores[there],
        }
    )

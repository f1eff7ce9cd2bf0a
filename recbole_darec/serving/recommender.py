"""A loaded model that answers in the ids of its data set, block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from logging import getLogger
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.aligned.new_rows import WithNewItems
from recbole_darec.aligned.vectors import final_tables, score_vectors
from recbole_darec.errors import DataError, OptionError, some
from recbole_darec.evaluation.all_rank import UserItems
from recbole_darec.evaluation.sequential_rank import LastItems, SequentialRankLoader
from recbole_darec.loaded import LoadedRun, load_run
from recbole_darec.serving.catalogue import Catalogue, check_k, frame_of, popular_of
from recbole_darec.serving.fold_in import asked_with, folded_vectors, pairs_of, rows_taken
from recbole_darec.serving.newcomers import ColdSource, Newcomer, Newcomers
from recbole_darec.serving.options import EXCLUDED
from recbole_darec.serving.scores import (
    ModelScores,
    Scores,
    VectorScores,
    best,
    mean_over_users,
)
from recbole_darec.serving.tokens import Ids, ids_of

__all__ = ["Recommender"]

_MEBIBYTE = 1 << 20
_NOBODY = np.empty(0, dtype=np.int64)
_PARTS = {"train": 1, "train_valid": 2, "all": 3, "none": 0}


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
        sequential = isinstance(run.test_data, SequentialRankLoader)
        self._last_items = LastItems(run.config, run.parts) if sequential else None

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
        interactions: Mapping[str, Sequence[str]] | None = None,
        cold_items: ColdSource | None = None,
        cold_users: ColdSource | None = None,
        cold_items_only: bool = False,
        cold_neighbours: int = 10,
        cold_by: str = "aligner",
        encoder: str | None = None,
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Return frames of recommendations with the number of users in each; see `recommend`."""
        if exclude not in EXCLUDED:
            raise OptionError(f"exclude={exclude!r}: one of {', '.join(EXCLUDED)}")
        if cold_items_only and cold_items is None:
            raise OptionError("cold_items_only goes with cold_items")
        newcomers = Newcomers(self.run, cold_neighbours, encoder, cold_by)
        new_items = None if cold_items is None else newcomers.given("item", cold_items)
        catalogue = self._catalogue(new_items, newcomers, cold_items_only)
        candidates = catalogue.candidates(exclude_items, only_items)
        check_k(k, len(candidates), "items to choose from")
        by_profile = None if cold_users is None else newcomers.given("user", cold_users)
        given = {str(user): items for user, items in (interactions or {}).items()}
        profiled = set() if by_profile is None else set(by_profile.tokens)
        if users is None and (given or profiled):
            users = list(dict.fromkeys([*given, *(by_profile.tokens if by_profile else [])]))
        new = rows_taken(given, users or [], self.users, self.items)
        left = [user for user in users or [] if str(user) not in new]
        asked = [str(user) for user in left if str(user) in profiled]
        left = [user for user in left if str(user) not in profiled]
        known = _NOBODY
        cold: list[str] = []
        if left or not (new or asked):
            known, cold = self._known(left if users is not None else None, unknown)
        blocks: list[Iterator[tuple[pd.DataFrame, int]]] = [
            self._listed(self.users, known, catalogue, candidates, k, self._hidden(exclude))
        ]
        if new:
            blocks.append(self._folded(new, catalogue, candidates, k))
        if asked:
            assert by_profile is not None
            blocks.append(self._profiled(by_profile, asked, catalogue, candidates, k))
        stored = newcomers.with_a_stored_profile(cold) if cold else None
        if stored is not None:
            cold = [user for user in cold if user not in set(stored.tokens)]
            blocks.append(self._profiled(stored, stored.tokens, catalogue, candidates, k))
        if cold or not (len(known) or new or asked or stored):
            blocks.append(
                iter([(popular_of(cold, catalogue, candidates, self._counts(), k), len(cold))])
            )
        return itertools.chain(*blocks)

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
        check_k(k, len(ids) - 2, f"other {kind}s")
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

    def _catalogue(self, new: Newcomer | None, newcomers: Newcomers, new_only: bool) -> Catalogue:
        tokens = [*self.items.tokens, *(new.tokens if new else [])]
        rows = None if new is None else new.rows
        vectors = self._vectors
        if vectors is not None and rows is not None:
            assert rows.vectors is not None
            vectors = {**vectors, "item": torch.cat([vectors["item"], rows.vectors])}
        first = len(self.items) if new_only else 1
        backbone = newcomers.vectors if rows is not None else None
        ranked = None if rows is None else WithNewItems(self.run.model, rows, backbone)
        return Catalogue(Ids("item", tokens), first, vectors, ranked)

    def _listed(
        self,
        ids: Ids,
        rows: np.ndarray,
        catalogue: Catalogue,
        candidates: np.ndarray,
        k: int,
        hidden: UserItems | None,
        scores: Scores | None = None,
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield frames of the best items of some users, known ones where no scores are given."""
        if not len(rows):
            return
        if scores is None:
            scores = self._scores(catalogue, candidates, self._ask)
        names = ("user_id", "item_id")
        for found in best(scores, rows, k, hidden, self._block_bytes):
            yield frame_of(ids, catalogue.items, found, names), len(found.users)

    def _folded(
        self, new: Mapping[str, np.ndarray], catalogue: Catalogue, candidates: np.ndarray, k: int
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield frames of new users, out of the items that they took, which are left out."""
        sequences, config = list(new.values()), self.run.config
        scores: Scores
        if self._last_items is not None:
            ask = asked_with(config, self.run.dataset, sequences)
            scores = self._scores(catalogue, candidates, ask)
        elif self._vectors is not None and catalogue.vectors is not None:
            access = self.run.model.access_to_embeddings(config)
            degrees = self._counts() if access is not None and access.propagates else None
            rows = folded_vectors(self._vectors["item"], sequences, degrees)
            scores = VectorScores(rows, catalogue.vectors["item"], candidates)
        else:
            raise OptionError(
                f"the model '{config['model']}' has no vectors of items, out of which a new user's "
                "could be made: leave the interactions out, or take a model such as LightGCN"
            )
        ids = Ids("user", ["", *new])
        hidden = pairs_of(sequences, len(self.items))
        numbers = np.arange(1, len(ids))
        yield from self._listed(ids, numbers, catalogue, candidates, k, hidden, scores)

    def _profiled(
        self,
        new: Newcomer,
        asked: Sequence[str],
        catalogue: Catalogue,
        candidates: np.ndarray,
        k: int,
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield frames of new users, out of their profiles."""
        ids = Ids("user", ["", *new.tokens])
        scores: Scores
        if catalogue.vectors is not None and new.rows.vectors is not None:
            rows = torch.nn.functional.pad(new.rows.vectors, (0, 0, 1, 0))
            scores = VectorScores(rows, catalogue.vectors["item"], candidates)
        else:
            of_users = mean_over_users(self._of_users(catalogue, self._ask), new.rows.nearest)
            scores = ModelScores(of_users, candidates, self._device)
        numbers = ids.known_rows(asked, "the new users")
        yield from self._listed(ids, numbers, catalogue, candidates, k, None, scores)

    def _counts(self) -> np.ndarray:
        """Return the training interactions of each item, int64 ``[n_items]``."""
        part = self.run.parts[0]
        return np.bincount(part.inter_feat[part.iid_field].numpy(), minlength=len(self.items))

    @property
    def _device(self) -> torch.device:
        return torch.device(self.run.config["device"])

    def _scores(
        self,
        catalogue: Catalogue,
        candidates: np.ndarray,
        ask: Callable[[np.ndarray], Interaction],
    ) -> Scores:
        if catalogue.vectors is not None:
            return VectorScores(catalogue.vectors["user"], catalogue.vectors["item"], candidates)
        return ModelScores(self._of_users(catalogue, ask), candidates, self._device)

    def _of_users(
        self, catalogue: Catalogue, ask: Callable[[np.ndarray], Interaction]
    ) -> Callable[[np.ndarray], Tensor]:
        """Return what gives the model's scores of all items, padding and new ones included."""
        of_asked = catalogue.ranked or self.run.model.scores_of_all
        return lambda users: of_asked(ask(users).to(self._device))

    def _ask(self, users: np.ndarray) -> Interaction:
        """Return what the model is asked with: users, or all that is known of what they did."""
        if self._last_items is not None:
            asked = self._last_items.of(users)
            return self._last_items.cut(asked) if self.run.model.reads_positions else asked
        return Interaction({self.run.dataset.uid_field: torch.from_numpy(users)})

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
        features = [part.inter_feat for part in self.run.parts[: _PARTS[exclude]]]
        if not features:
            return None
        dataset = self.run.dataset
        return UserItems(
            np.concatenate([f[dataset.uid_field].numpy() for f in features]),
            np.concatenate([f[dataset.iid_field].numpy() for f in features]),
            len(self.users),
            len(self.items),
        )

"""New users and items with a profile and no interaction, ranked by a loaded model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_darec.aligned.access import Tables
from recbole_darec.aligned.new_rows import PROFILE_KNN, NewRows, find_new_rows
from recbole_darec.aligned.profile_rows import rows_of
from recbole_darec.aligned.vectors import backbone_vectors
from recbole_darec.errors import DataError, EmbeddingError, OptionError, some
from recbole_darec.loaded import LoadedRun
from recbole_darec.serving.profiles import GivenProfiles, encoded_rows, given_profiles
from recbole_darec.serving.tokens import Ids, ids_of

__all__ = ["ColdSource", "Newcomer", "Newcomers", "read_cold"]

_PADDING_ROWS = 1

ColdSource = str | Path | Mapping[str, Any] | GivenProfiles
"""A file of profiles or of embeddings, or, in Python, a text or a row by id."""


def read_cold(
    items: ColdSource | None, users: ColdSource | None
) -> dict[str, GivenProfiles | None]:
    """Read new items and users, before a model is loaded; see :func:`given_profiles`."""
    return {
        kind: None if source is None else given_profiles(source, f"--cold-{kind}s")
        for kind, source in (("item", items), ("user", users))
    }


@dataclass(frozen=True)
class Newcomer:
    """New ids of one kind, and how they are ranked.

    Attributes:
        tokens: their ids, in the order of the rows.
        rows: what ranks.
    """

    tokens: list[str]
    rows: NewRows


class Newcomers:
    """Finds how new users and items of one loaded model are ranked.

    Args:
        run: the trained model with its data.
        n_nearest: trained rows that a mean is taken of.
        encoder: of texts, where the run's embedding files do not name theirs.
        by: ``aligner`` for its way where it has one, ``profile_knn`` to leave that out.
    """

    def __init__(
        self,
        run: LoadedRun,
        n_nearest: int = 10,
        encoder: str | None = None,
        by: str = "aligner",
    ) -> None:
        if n_nearest < 1:
            raise OptionError(f"cold_neighbours={n_nearest}: must be at least 1")
        if by not in ("aligner", "profile_knn"):
            raise OptionError(f"cold_by={by!r}: one of aligner, profile_knn")
        self._run, self._n_nearest, self._encoder, self._by = run, n_nearest, encoder, by

    @cached_property
    def vectors(self) -> Tables | None:
        """What :func:`~recbole_darec.aligned.vectors.backbone_vectors` returns of the model."""
        return backbone_vectors(self._run.model, self._run.config)

    def given(self, kind: str, source: ColdSource) -> Newcomer:
        """Return the new ones of a file, or of a mapping.

        Raises:
            DataError: one is in the model's data already.
            EmbeddingError: the trained ones have no profiles to compare with, or the widths differ.
        """
        flag = f"--cold-{kind}s"
        found = given_profiles(source, flag)
        ids = ids_of(self._run.dataset, kind)
        known = [t for t, row in zip(found.tokens, ids.rows(found.tokens)) if row >= 0]
        if known:
            raise DataError(
                f"{flag}: {len(known):,} of {len(found.tokens):,} {kind}s are in the model's data "
                f"already: {some(known)}; leave them out"
            )
        trained = rows_of(self._run.config, kind, list(ids.tokens))
        matrix = trained.items if kind == "item" else trained.users
        assert matrix is not None
        rows = encoded_rows(found, trained.meta[kind], trained.width, self._encoder)
        newcomer = Newcomer(found.tokens, self._ranked(kind, ids, matrix, rows))
        self._tell(newcomer)
        return newcomer

    def with_a_stored_profile(self, users: Sequence[str]) -> Newcomer | None:
        """Return those unknown users for whom the run's own embedding file has a row."""
        ids = ids_of(self._run.dataset, "user")
        try:
            found = rows_of(self._run.config, "user", [ids.tokens[0], *users], missing="zero").users
            matrix = rows_of(self._run.config, "user", list(ids.tokens)).users
        except (EmbeddingError, OptionError) as error:
            getLogger().info(f"no profile of the unknown users: {error}")
            return None
        assert found is not None
        assert matrix is not None
        there = np.flatnonzero(found[_PADDING_ROWS:].any(axis=1))
        rows = found[_PADDING_ROWS:][there].astype(np.float32)
        newcomer = Newcomer(
            [users[n] for n in there.tolist()], self._ranked("user", ids, matrix, rows)
        )
        self._tell(newcomer)
        return newcomer

    def _ranked(self, kind: str, ids: Ids, matrix: np.ndarray, rows: np.ndarray) -> NewRows:
        part = self._run.train_data._dataset
        field = part.uid_field if kind == "user" else part.iid_field
        counts = np.bincount(np.asarray(part.inter_feat[field]), minlength=len(ids))
        return find_new_rows(
            self._run.model,
            kind,
            torch.from_numpy(rows),
            torch.from_numpy(matrix[_PADDING_ROWS:]),
            torch.from_numpy(counts[_PADDING_ROWS:] > 0),
            self.vectors,
            n_nearest=self._n_nearest,
            content_only=self._by == "profile_knn",
        )

    def _tell(self, newcomer: Newcomer) -> None:
        rows, align = newcomer.rows, self._run.config["align"]
        what = f"{len(newcomer.tokens):,} new {rows.kind}s are ranked by {rows.how}"
        if rows.how != PROFILE_KNN or self._by == "profile_knn":
            getLogger().info(what)
            return
        has_a_way = self._run.model.aligner.does("rank_profiles")
        why = (
            "the model's scores are no inner products" if has_a_way else f"align={align} has no way"
        )
        getLogger().warning(f"{what}, of {rows.nearest.shape[1]} neighbours each: {why}")

"""The best items for users of a trained model, and the nearest rows of an item or a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from recbole_darec.serving.newcomers import ColdSource
from recbole_darec.serving.recommender import Recommender

__all__ = ["recommend", "similar_items", "similar_users"]


def recommend(
    model_file: str | Path,
    users: Sequence[str] | None = None,
    k: int = 20,
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
            ``cold``, which ranks by their profile where the run's embedding file has one, and gives
            the most popular items to the others.
        interactions: items of users that the model does not know, in order of time; they are folded
            in without training, and asked for where ``users`` is None.
        cold_items: items that the model does not know, ranked by their profiles beside the others:
            a file of profiles or of embeddings, or a text or a row by id.
        cold_users: the same for users, who are asked for where ``users`` is None.
        cold_items_only: choose from ``cold_items`` alone.
        cold_neighbours: trained rows whose mean stands for a new one, where the aligner has no way
            from a profile to a row that ranks.
        cold_by: ``aligner``, its way where it has one, or ``profile_knn``, always that mean.
        encoder: of texts, where the run's embedding file does not name its own.
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
        interactions=interactions,
        cold_items=cold_items,
        cold_users=cold_users,
        cold_items_only=cold_items_only,
        cold_neighbours=cold_neighbours,
        cold_by=cold_by,
        encoder=encoder,
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

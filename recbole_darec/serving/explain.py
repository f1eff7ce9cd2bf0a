"""Why a model brings users together whom no short path of the graph joins (DaRec, figure 8)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix

from recbole_darec.aligned.vectors import final_tables
from recbole_darec.data.profile_files import read_profiles
from recbole_darec.errors import CheckpointError, DataError, OptionError
from recbole_darec.numerics import unit_rows
from recbole_darec.resources import atomic_data_dir
from recbole_darec.serving.output import titles_of
from recbole_darec.serving.recommender import Recommender

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """What models say of one user.

    Attributes:
        user: the user's id.
        models: name of each model.
        neighbours: columns ``user_id``, ``hops`` (NA where no path leads there), and for each model
            ``relevance: <model>`` (cosine) and ``rank: <model>``, from 1, among the users that are
            as far or farther.
        items: columns ``model``, ``rank``, ``item_id``, ``score``, ``near`` (rank among the user's
            training items by cosine), ``training_item_id``, ``relevance``.
        user_profiles: text by id, of the user and of the neighbours, where there are any.
        titles: title by item id, where there are any.
    """

    user: str
    models: tuple[str, ...]
    neighbours: pd.DataFrame
    items: pd.DataFrame
    user_profiles: Mapping[str, str]
    titles: Mapping[str, str]


def explain(
    model_files: Sequence[str | Path],
    user: str,
    *,
    hops: int = 3,
    k: int = 5,
    items: int = 5,
    near: int = 2,
) -> Explanation:
    """Say which far users are nearest to one under each model, and where its items come from.

    Two users are 2 hops apart if they share an item, 4 if they share none and each shares one with
    a third, and so on, by the training interactions.

    Args:
        model_files: checkpoints of one data set and split.
        user: the user's own id.
        hops: users more than so many hops away are compared.
        k: nearest of them under each model, all of which are shown under all models.
        items: recommended items of each model.
        near: training items that are shown for each.

    Raises:
        CheckpointError: a file is damaged, its data has changed, or it is of other data.
        DataError: nobody knows the user, or nobody is that far away.
        OptionError: a model has no embeddings of users, or a number is below 1.
    """
    for name, value in (("hops", hops), ("k", k), ("items", items), ("near", near)):
        if value < 1:
            raise OptionError(f"{name}={value}: must be at least 1")
    recommenders = [Recommender.of(path) for path in model_files]
    first = recommenders[0]
    _check_same_data(recommenders, model_files)
    row = int(first.users.known_rows([user], "the user asked for")[0])
    pairs = _training_pairs(first)
    distances = _distances(pairs, row)
    far = np.flatnonzero(distances > hops)
    far = far[far > 0]
    if not len(far):
        raise DataError(
            f"no user is more than {hops} hops away from '{user}': give fewer --hops, or another "
            "user"
        )
    names = _names(recommenders, model_files)
    relevance = {
        name: _cosines(_tables(one), "user", row) for name, one in zip(names, recommenders)
    }
    return Explanation(
        user=user,
        models=names,
        neighbours=_neighbours(first, far, distances, relevance, k),
        items=pd.concat(
            [
                _items(name, one, user, np.unique(pairs[row].indices), items, near)
                for name, one in zip(names, recommenders)
            ],
            ignore_index=True,
        ),
        user_profiles=_user_profiles(first.run),
        titles=titles_of(first.run),
    )


def _check_same_data(recommenders: Sequence[Recommender], files: Sequence[str | Path]) -> None:
    first = recommenders[0]
    for other, file in zip(recommenders[1:], files[1:]):
        same = (
            np.array_equal(first.users.tokens, other.users.tokens)
            and np.array_equal(first.items.tokens, other.items.tokens)
            and (_training_pairs(first) != _training_pairs(other)).nnz == 0
        )
        if not same:
            raise CheckpointError(
                f"'{files[0]}' and '{file}' were trained on other interactions: compare models of "
                "one data set and split"
            )


def _names(recommenders: Sequence[Recommender], files: Sequence[str | Path]) -> tuple[str, ...]:
    """Return a name for each model: backbone and aligner, or its file where they are the same."""
    names = [f"{one.run.config['model']} {one.run.config['align']}" for one in recommenders]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    if len(set(names)) < len(names):
        raise OptionError("--checkpoint: the same file is given twice")
    return tuple(names)


def _training_pairs(recommender: Recommender) -> csr_matrix:
    """Return the training interactions, bool ``[n_users, n_items]``, padding included."""
    part = recommender.run.train_data._dataset
    found: csr_matrix = part.inter_matrix(form="csr").astype(bool)
    return found


def _distances(pairs: csr_matrix, row: int) -> np.ndarray:
    """Return how many edges each user is away, float ``[n_users]``; infinity without a path."""
    distances = np.full(pairs.shape[0], np.inf)
    distances[row] = 0
    transposed = pairs.T.tocsr()
    frontier = np.array([row])
    for hops in itertools.count(2, 2):
        shared = np.unique(pairs[frontier].indices)
        users = np.unique(transposed[shared].indices) if len(shared) else shared
        frontier = users[np.isinf(distances[users])]
        if not len(frontier):
            break
        distances[frontier] = hops
    return distances


def _tables(recommender: Recommender) -> Mapping[str, torch.Tensor]:
    run = recommender.run
    tables = final_tables(run.model, run.config)
    if tables is None or "user" not in tables:
        raise OptionError(
            f"the model '{run.config['model']}' has no embeddings of users, and explain compares "
            "them: take one such as LightGCN"
        )
    return tables


@torch.no_grad()
def _cosines(tables: Mapping[str, torch.Tensor], kind: str, row: int) -> np.ndarray:
    """Return the cosine of each row of a table with one of them, float64."""
    unit = unit_rows(tables[kind].double())
    found: np.ndarray = (unit @ unit[row]).cpu().numpy()
    return found


def _neighbours(
    recommender: Recommender,
    far: np.ndarray,
    distances: np.ndarray,
    relevance: Mapping[str, np.ndarray],
    k: int,
) -> pd.DataFrame:
    """Return the k nearest of the far users under each model, with what all models say of them."""
    shown: list[int] = []
    ranks: dict[str, dict[int, int]] = {}
    for name, cosines in relevance.items():
        order = far[np.argsort(-cosines[far], kind="stable")]
        ranks[name] = {int(user): rank for rank, user in enumerate(order, 1)}
        shown += [int(user) for user in order[:k]]
    users = list(dict.fromkeys(shown))
    hops = [int(distances[u]) if np.isfinite(distances[u]) else pd.NA for u in users]
    frame = pd.DataFrame(
        {"user_id": recommender.users.tokens[users], "hops": pd.array(hops, dtype="Int64")}
    )
    for name, cosines in relevance.items():
        frame[f"relevance: {name}"] = cosines[users]
        frame[f"rank: {name}"] = [ranks[name][user] for user in users]
    # By the last model's rank: the one whose neighbours are to be explained.
    return frame.sort_values(frame.columns[-1], ignore_index=True)


def _items(
    name: str, recommender: Recommender, user: str, taken: np.ndarray, k: int, near: int
) -> pd.DataFrame:
    """Return a model's best items for the user, each with the nearest items of its training."""
    tables = _tables(recommender)
    unit = unit_rows(tables["item"].double())
    found = pd.concat([frame for frame, _ in recommender.recommend([user], k)], ignore_index=True)
    lines: list[dict[str, Any]] = []
    for item in found.itertuples():
        row = int(recommender.items.rows([item.item_id])[0])
        cosines = (unit[torch.from_numpy(taken)] @ unit[row]).cpu().numpy()
        order = np.argsort(-cosines, kind="stable")[:near]
        lines += [
            {
                "model": name,
                "rank": item.rank,
                "item_id": item.item_id,
                "score": item.score,
                "near": place,
                "training_item_id": recommender.items.tokens[taken[n]],
                "relevance": cosines[n],
            }
            for place, n in enumerate(order, 1)
        ]
    return pd.DataFrame(lines)


def _user_profiles(run: Any) -> dict[str, str]:
    """Return the users' profile texts by id, where the data set has such a file."""
    name = run.config["dataset"]
    own = run.config.settings.profile_source.profile_dir
    folders = [Path(run.config["data_path"]), atomic_data_dir() / name]
    for folder in [Path(own), *folders] if own else folders:
        path = folder / f"{name}.userprofile.jsonl"
        if path.is_file():
            return dict(zip(*read_profiles(path)))
    return {}

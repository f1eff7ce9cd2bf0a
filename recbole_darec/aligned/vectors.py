"""A trained model's scores as inner products of vectors, where they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.aligned.access import Tables
from recbole_darec.aligned.kinds import stacked, with_padding
from recbole_darec.alignment.contract import TrainingStep

__all__ = [
    "backbone_vectors",
    "final_tables",
    "score_vectors",
    "sequence_vectors",
    "split_representations",
]

_TRIED_USERS, _TRIED_SCORES = 32, 1 << 23
_TOLERANCE = 1e-5


@torch.no_grad()
def final_tables(model: Any, config: Any) -> Tables | None:
    """Return the embeddings that a trained model ranks with, by kind, padding row first.

    Args:
        model: an ``AlignedRecommender`` in evaluation.
        config: RecBole's configuration.

    Returns:
        float ``[size, d]`` by kind; None where the model yields none.
    """
    tables = model.final_tables(config)
    # A backbone of tables alone ranks with its very parameters.
    return None if tables is None else {kind: table.detach() for kind, table in tables.items()}


@torch.no_grad()
def score_vectors(model: Any, config: Any) -> Tables | None:
    """Return vectors whose inner product is the model's score, where there are such.

    A model that normalises, adds biases or has a network on top has embeddings, and its scores are
    not their products: the scores of some users are compared.

    Args:
        model: an ``AlignedRecommender`` in evaluation, whose kinds are users and items.
        config: RecBole's configuration.

    Returns:
        float ``[size, d]`` for ``user`` and ``item``, padding row first, or None.
    """
    return None if model.alters_scores() else backbone_vectors(model, config)


@torch.no_grad()
def backbone_vectors(model: Any, config: Any) -> Tables | None:
    """Return :func:`score_vectors` of the backbone, whatever its aligner makes of the scores."""
    tables = final_tables(model, config)
    if tables is None or set(tables) != {"user", "item"}:
        return None
    users, items = tables["user"], tables["item"]
    most = max(1, min(_TRIED_USERS, _TRIED_SCORES // len(items)))
    step = max(1, (len(users) - 1) // most)
    tried = torch.arange(1, len(users), step, device=users.device)[:most]
    products = users[tried] @ items[1:].T
    scores = model.own_scores(Interaction({model.USER_ID: tried}).to(users.device))[:, 1:]
    return tables if _equal(products, scores) else None


@torch.no_grad()
def sequence_vectors(model: Any, batches: Iterable[Interaction]) -> Tables | None:
    """Return vectors whose inner product is a sequential model's score, where there are such.

    Args:
        model: an ``AlignedSequential`` in evaluation.
        batches: what it is asked with, of all users in the order of their ids.

    Returns:
        float ``[size, d]`` for ``user`` (of the sequence that each is asked with) and ``item``,
        padding row first, or None.
    """
    users: list[Tensor] = []
    items: Tensor | None = None
    for batch in batches:
        found = model.sequence_vectors(batch)
        if found is None:
            return None
        encoded, items = found
        if not users:
            scores = model.full_sort_predict(batch).view(len(encoded), -1)[:, 1:]
            if not _equal(encoded @ items[1:].T, scores):
                return None
            users.append(torch.zeros_like(encoded[:1]))
        users.append(encoded)
    return None if items is None else {"user": torch.cat(users), "item": items.detach()}


@torch.no_grad()
def split_representations(model: Any, tables: Tables) -> dict[str, Tables]:
    """Return the parts that an aligner splits its sides into, as tables by kind, by name.

    Args:
        model: an ``AlignedRecommender`` in evaluation.
        tables: what :func:`final_tables` returns.

    Returns:
        Padding row first; parts that have not a row for each user and item are left out.
    """
    rows = stacked(tables)
    if not model.aligner.needs_profiles or len(model.profile_rows) != len(rows):
        return {}
    step = TrainingStep(rows, model.profile_rows, model.kinds, {})
    return {
        name: with_padding(found, model.kinds, tables)
        for name, found in model.aligner.representations(step).items()
        if len(found) == len(rows)
    }


def _equal(products: Tensor, scores: Tensor) -> bool:
    scale = float(scores.abs().max().clamp_min(1.0))
    return bool(((products - scores).abs() <= _TOLERANCE * scale).all())

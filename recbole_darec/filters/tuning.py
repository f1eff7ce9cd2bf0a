"""Weights of a filter found within the training part, without validation data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_darec.filters.fitted import FilterInputs, FilterWeights, FittedFilter

__all__ = ["GRID", "hold_out", "recall", "tuned_weights"]

# Each weight's candidates; the first ones win where several are equally good.
GRID: dict[str, tuple[float, ...]] = {
    "item_exponent": (0.3, 0.1, 0.5),
    "two_hops": (0.0, 0.5, 1.0),
    "text": (0.0, 0.1, 0.3, 0.6, 1.0),
    "popularity": (0.0, 0.2),
    "match": (0.0, 0.1, 0.2, 0.3),
    "user_text": (0.0, 0.25),
}
_CUT = 20
_SHARE = 0.2
_FEWEST = 3
# Elements of users x items that one candidate ranks: some seconds of a core for the whole grid.
_RANKED_ELEMENTS = 40_000_000


def tuned_weights(
    inputs: FilterInputs, fixed: Mapping[str, float] | None = None, *, seed: int = 0
) -> FilterWeights:
    """Choose the weights by Recall@20 on a fifth of each user's training items.

    The filter is built from the rest.  First the exponent, c, t and p are chosen together, then h
    and g; the caller builds anew from all of the training part.

    Args:
        inputs: of the whole training part.
        fixed: weights that are not to be searched, by :class:`FilterWeights`' names.
        seed: of the choice of what is held out.

    Raises:
        ValueError: no user has three training items, so that nothing can be held out.
    """
    fixed = dict(fixed or {})
    kept, held = hold_out(inputs.interactions, seed)
    reduced = inputs.trained_on(kept)
    users = np.flatnonzero(np.diff(held.indptr))
    most = max(64, _RANKED_ELEMENTS // inputs.interactions.shape[1])
    if len(users) > most:
        users = users[np.linspace(0, len(users) - 1, most).astype(np.int64)]
    grid = _grid(inputs, fixed)
    task = _Task(reduced, held, users)
    best = FilterWeights(**fixed)
    found = -1.0
    for exponent in grid["item_exponent"]:
        ranked = _Sums(task, replace(best, item_exponent=exponent), _useful(grid))
        for c, t, p in product(grid["two_hops"], grid["text"], grid["popularity"]):
            score = task.recall(ranked.sum(c, t, p))
            if score > found:
                found = score
                first = replace(best, item_exponent=exponent, two_hops=c, text=t, popularity=p)
    best, found = first, -1.0
    pieces = _whole_pieces(reduced, users, first, grid)
    for h, g in product(grid["match"], grid["user_text"]):
        total = pieces["graph"]
        for weight, name in ((h, "match"), (g, "users")):
            if weight:
                total = total + weight * pieces[name]
        score = task.recall(total)
        if score > found:
            found, best = score, replace(first, match=h, user_text=g)
    return best


def hold_out(interactions: Any, seed: int = 0) -> tuple[Any, Any]:
    """Split X into what is kept and a fifth of the items of each user who has three or more.

    Args:
        interactions: scipy CSR ``[n_users, n_items]``.
        seed: of the choice; NumPy's RandomState, whose stream is the same in every version.

    Returns:
        the kept and the held-out part, scipy CSR of the same shape.

    Raises:
        ValueError: no user has three items.
    """
    matrix = sp.csr_matrix(interactions)
    counts = np.diff(matrix.indptr)
    taken = np.where(counts >= _FEWEST, np.maximum(1, (counts * _SHARE).astype(np.int64)), 0)
    if not taken.any():
        raise ValueError(f"no user has {_FEWEST} training items or more")
    user = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((np.random.RandomState(seed).random_sample(matrix.nnz), user))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    held = np.zeros(matrix.nnz, dtype=bool)
    held[order] = place < np.repeat(taken, counts)
    parts = []
    for chosen in (~held, held):
        part = sp.csr_matrix(
            (np.ones(int(chosen.sum()), np.float32), (user[chosen], matrix.indices[chosen])),
            shape=matrix.shape,
        )
        parts.append(part)
    return parts[0], parts[1]


def recall(scores: torch.Tensor, known: Any, wanted: Any, cut: int = _CUT) -> float:
    """Return the mean Recall@cut of a block of users; known items are left out of the ranking.

    Args:
        scores: ``[b, n_items]``.
        known: scipy CSR ``[b, n_items]``, what is masked.
        wanted: scipy CSR ``[b, n_items]``, what is to be found; no row is empty.
    """
    known, wanted = known.tocoo(), wanted.tocsr()
    masked = scores.clone()
    masked[torch.from_numpy(known.row).long(), torch.from_numpy(known.col).long()] = -torch.inf
    top = masked.topk(min(cut, scores.shape[1]), dim=1).indices.numpy()
    row = np.repeat(np.arange(len(top)), top.shape[1])
    hits = np.asarray(wanted[row, top.ravel()]).reshape(top.shape).astype(bool).sum(1)
    return float(np.mean(hits / np.diff(wanted.indptr)))


def _grid(inputs: FilterInputs, fixed: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    """Return the candidates of each weight; a piece that cannot be made has weight 0 alone."""
    missing = {
        "text": inputs.item_graph is None,
        "user_text": inputs.user_graph is None,
        "match": inputs.user_rows is None,
    }
    grid = {}
    for name, candidates in GRID.items():
        if name in fixed:
            candidates = (float(fixed[name]),)
        grid[name] = (0.0,) if missing.get(name) else candidates
    return grid


@dataclass(frozen=True)
class _Task:
    """What the candidates are judged by.

    Attributes:
        inputs: the reduced training part.
        held: what was held out, scipy CSR.
        users: those whose held-out items are looked for, int ``[b]``.
    """

    inputs: FilterInputs
    held: Any
    users: np.ndarray

    def recall(self, scores: torch.Tensor) -> float:
        return recall(scores, self.inputs.interactions[self.users], self.held[self.users])


class _Sums:
    """The first three pieces of some users, made once for all weights of one exponent."""

    def __init__(self, task: _Task, weights: FilterWeights, names: set[str]) -> None:
        # Every piece whose weight may become other than 0 is made.
        wanted = replace(weights, **dict.fromkeys(names, 1.0))
        filter_ = FittedFilter(task.inputs, wanted, measured=False)
        pieces = filter_.pieces(filter_.rows(task.users))
        self._pieces = {name: scaled(torch.from_numpy(piece)) for name, piece in pieces.items()}
        degrees = np.asarray(task.inputs.interactions.sum(0)).ravel().clip(min=1.0)
        self._degrees = torch.from_numpy(degrees.astype(np.float32))

    def sum(self, two_hops: float, text: float, popularity: float) -> torch.Tensor:
        total = self._pieces["once"].clone()
        for name, weight in (("twice", two_hops), ("text", text)):
            if weight:
                total.add_(self._pieces[name], alpha=weight)
        return total.mul_(self._degrees**popularity) if popularity else total


def _useful(grid: Mapping[str, tuple[float, ...]]) -> set[str]:
    return {name for name in ("two_hops", "text") if any(grid[name])}


def _whole_pieces(
    inputs: FilterInputs,
    users: np.ndarray,
    weights: FilterWeights,
    grid: Mapping[str, tuple[float, ...]],
) -> dict[str, torch.Tensor]:
    """Return F0, J and S F0 of some users, each by its deviation, as far as they are candidates."""
    wanted = {name: 1.0 for name in ("match", "user_text") if any(grid[name])}
    filter_ = FittedFilter(inputs, replace(weights, **wanted))
    pieces = filter_.whole_pieces(users)
    return {name: scaled(torch.from_numpy(piece)) for name, piece in pieces.items()}


def scaled(scores: torch.Tensor) -> torch.Tensor:
    """Return scores by their deviation, as they are where that is 0."""
    deviation = float(scores.double().std(correction=0))
    return scores / deviation if deviation > 0 else scores

"""Weights of a filter found within the training part, without validation data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch

from recbole_darec.filters.equations import row_blocks
from recbole_darec.filters.fitted import FittedFilter, dense, deviations
from recbole_darec.filters.held_out import FEWEST, hold_out, hold_out_latest
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.low_pass import LowPass
from recbole_darec.filters.weights import FilterWeights
from recbole_darec.numerics.topk import top_k

__all__ = ["GRID", "SEARCH", "recall", "tuned_weights"]

# Each weight's candidates; the first ones win where several are equally good.
GRID: dict[str, tuple[float, ...]] = {
    "item_exponent": (0.3, 0.1, 0.5),
    "two_hops": (0.0, 0.5, 1.0),
    "text": (0.0, 0.1, 0.3, 0.6, 1.0),
    "popularity": (0.0, 0.2),
    "match": (0.0, 0.1, 0.2, 0.3),
    "user_text": (0.0, 0.25),
    "low_pass": (0.0, 0.25, 0.5, 1.0, 2.0),
    "low_pass_width": (64.0, 32.0, 128.0),
    "recency": (0.0, 0.1, 0.2, 0.4),
}
# Counted up with every change of the search, so that weights which another one found are not taken.
SEARCH = 3
_CUT = 20
# Elements of users x items that one candidate ranks at a time: some seconds of a core for the whole
# grid.  Where that is too few users to tell weights apart by, there is more than one such block.
_RANKED_ELEMENTS = 40_000_000
_FEWEST_RANKED = 256
# Recall on one fifth of a small data set tells two weights apart by chance: so many interactions
# are held out, a fifth at a time; where order counts, each user's last item, then the one before.
_HELD_OUT, _MOST_TASKS = 20_000, 5


def tuned_weights(
    inputs: FilterInputs, fixed: Mapping[str, float] | None = None, *, seed: int = 0
) -> FilterWeights:
    """Choose the weights by Recall@20 on a fifth of each user's training items.

    The filter is built from the rest.  Where a fifth is few interactions, several are drawn, and
    the mean of their recalls counts.  Where the order is known it is each user's last item, found
    out of what was before it, and in so far as these are few the one before the last, and so on.
    First the exponent, c, t and p are chosen together, then r, then h and g, then l and the width
    of the low pass; the caller builds anew from the whole training part.

    Args:
        inputs: of the whole training part.
        fixed: weights that are not to be searched, by :class:`FilterWeights`' names.
        seed: of the choice of what is held out.

    Raises:
        ValueError: there is something to choose, and no user has three training items, so that
            nothing can be held out.
    """
    fixed = dict(fixed or {})
    grid = _grid(inputs, fixed)
    if all(len(candidates) == 1 for candidates in grid.values()):
        return FilterWeights(**{name: candidates[0] for name, candidates in grid.items()})
    tasks = _tasks(inputs, seed)
    best = FilterWeights(**fixed)
    found: dict[FilterWeights, float] = {}
    for exponent in grid["item_exponent"]:
        tried = [
            replace(best, item_exponent=exponent, two_hops=c, text=t, popularity=p)
            for c, t, p in product(grid["two_hops"], grid["text"], grid["popularity"])
        ]
        found |= dict(zip(tried, _over(tasks, _recalls_of_sums, tried)))
    first = max(found, key=found.__getitem__)  # the first one of equals
    fading = [replace(first, recency=r) for r in grid["recency"]]
    for one in fading:
        if one not in found:
            found[one] = float(_over(tasks, _recalls_of_sums, [one])[0])
    first = max(fading, key=found.__getitem__)
    tried = [
        replace(first, match=h, user_text=g) for h, g in product(grid["match"], grid["user_text"])
    ]
    second = tried[int(np.argmax(_over(tasks, _recalls_of_wholes, tried)))]
    widths = grid["low_pass_width"]
    tried = [
        replace(second, low_pass=low, low_pass_width=width)
        for width, low in product(widths, grid["low_pass"])
        if low or width == widths[0]
    ]
    if len(tried) == 1:
        return tried[0]
    return tried[int(np.argmax(_over(tasks, _recalls_of_low_passes, tried)))]


def recall(scores: torch.Tensor, known: Any, wanted: Any, cut: int = _CUT) -> np.ndarray:
    """Return the Recall@cut of each of a block of users; known items are left out of the ranking.

    Args:
        scores: ``[b, n_items]``.
        known: scipy CSR ``[b, n_items]``, what is masked.
        wanted: scipy CSR ``[b, n_items]``, what is to be found; no row is empty.

    Returns:
        float64 ``[b]``.
    """
    known, wanted = known.tocoo(), wanted.tocsr()
    masked = scores.clone()
    masked[torch.from_numpy(known.row).long(), torch.from_numpy(known.col).long()] = -torch.inf
    top = top_k(masked, min(cut, scores.shape[1]))[1].numpy()
    row = np.repeat(np.arange(len(top)), top.shape[1])
    hits = np.asarray(wanted[row, top.ravel()]).reshape(top.shape).astype(bool).sum(1)
    return np.asarray(hits / np.diff(wanted.indptr))


def _grid(inputs: FilterInputs, fixed: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    """Return the candidates of each weight; a piece that cannot be made has weight 0 alone."""
    missing = {
        "text": inputs.item_texts is None,
        "user_text": inputs.user_texts is None,
        "match": inputs.user_rows is None,
        "recency": inputs.order is None,
    }
    grid = {}
    for name, candidates in GRID.items():
        if name in fixed:
            candidates = (float(fixed[name]),)
        grid[name] = (0.0,) if missing.get(name) else candidates
    if not any(grid["low_pass"]):  # of no weight, any width will do
        grid["low_pass_width"] = grid["low_pass_width"][:1]
    return grid


@dataclass(frozen=True)
class _Task:
    """What the candidates are judged by.

    Attributes:
        inputs: the reduced training part.
        held: what was held out, scipy CSR.
        blocks: row numbers of those whose held-out items are looked for; where all their scores
            would take too much memory, a block of them is ranked at a time.
    """

    inputs: FilterInputs
    held: Any
    blocks: list[np.ndarray]

    @classmethod
    def of(cls, inputs: FilterInputs, held: Any) -> _Task:
        users = np.flatnonzero(np.diff(held.indptr))
        fit = max(1, _RANKED_ELEMENTS // held.shape[1])
        most = max(_FEWEST_RANKED, fit)
        if len(users) > most:
            users = users[np.linspace(0, len(users) - 1, most).astype(np.int64)]
        return cls(inputs, held, [users[n : n + fit] for n in range(0, len(users), fit)])

    def recalls(
        self,
        pieces_of: Callable[[np.ndarray], Mapping[str, Any]],
        candidates: Sequence[Callable[[Mapping[str, torch.Tensor]], torch.Tensor]],
    ) -> list[float]:
        """Return the mean recall of each candidate.

        Args:
            pieces_of: users to named scores ``[b, n_items]``.
            candidates: those scores, each by its deviation over all users, to what ranks.
        """
        made = [pieces_of(self.blocks[0])] if len(self.blocks) == 1 else map(pieces_of, self.blocks)
        deviation = deviations(made)
        found: list[list[np.ndarray]] = [[] for _ in candidates]
        for n, users in enumerate(self.blocks):
            pieces = made[n] if isinstance(made, list) else pieces_of(users)
            scaled = {
                name: torch.from_numpy(dense(piece)).div_(deviation[name])
                for name, piece in pieces.items()
            }
            for rows in row_blocks(*next(iter(scaled.values())).shape):
                part = {name: piece[rows] for name, piece in scaled.items()}
                known, wanted = self.inputs.interactions[users[rows]], self.held[users[rows]]
                for recalls, candidate in zip(found, candidates):
                    recalls.append(recall(candidate(part), known, wanted))
        return [float(np.mean(np.concatenate(recalls))) for recalls in found]


def _tasks(inputs: FilterInputs, seed: int) -> list[_Task]:
    """Return a task for each fifth that is held out, drawn with a seed each, or each last item."""
    most = _MOST_TASKS
    if inputs.order is not None:  # who has no item to be held out has none before it, either
        most = min(most, int(np.diff(inputs.order.indptr).max(initial=0)) - FEWEST + 1)
    found: list[_Task] = []
    count = 0
    while not found or (count < _HELD_OUT and len(found) < most):
        if inputs.order is None:
            kept, held = hold_out(inputs.interactions, seed + len(found))
        else:
            kept, held = hold_out_latest(inputs.order, len(found))
        found.append(_Task.of(inputs.trained_on(kept), held))
        count += held.nnz
    return found


def _over(
    tasks: Sequence[_Task],
    recalls: Callable[[_Task, Sequence[FilterWeights]], list[float]],
    tried: Sequence[FilterWeights],
) -> np.ndarray:
    """Return the mean recall of each candidate over the tasks."""
    found: np.ndarray = np.mean([recalls(task, tried) for task in tasks], axis=0)
    return found


def _recalls_of_sums(task: _Task, tried: Sequence[FilterWeights]) -> list[float]:
    """Return the recall of F0 with several weights c, t and p, and one exponent."""
    # Every piece that one of them has a weight for is made once.
    largest = {name: max(getattr(w, name) for w in tried) for name in ("two_hops", "text")}
    filter_ = FittedFilter(task.inputs, replace(tried[0], low_pass=0.0, **largest), measured=False)
    degrees = np.asarray(task.inputs.interactions.sum(0)).ravel().clip(min=1.0)
    popular = torch.from_numpy(degrees.astype(np.float32))

    def ranking(w: FilterWeights) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        def total(pieces: Mapping[str, torch.Tensor]) -> torch.Tensor:
            found = pieces["once"].clone()
            for name, weight in (("twice", w.two_hops), ("text", w.text)):
                if weight:
                    found.add_(pieces[name], alpha=weight)
            return found.mul_(popular**w.popularity) if w.popularity else found

        return total

    return task.recalls(
        lambda users: filter_.pieces(filter_.rows(users)), [ranking(w) for w in tried]
    )


def _recalls_of_wholes(task: _Task, tried: Sequence[FilterWeights]) -> list[float]:
    """Return the recall of F0 + h J + g S F0 with several weights h and g."""
    largest = {name: max(getattr(w, name) for w in tried) for name in ("match", "user_text")}
    filter_ = FittedFilter(task.inputs, replace(tried[0], low_pass=0.0, **largest))

    def ranking(w: FilterWeights) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        def total(pieces: Mapping[str, torch.Tensor]) -> torch.Tensor:
            found = pieces["graph"]
            for name, weight in (("match", w.match), ("users", w.user_text)):
                if weight:
                    found = found + weight * pieces[name]
            return found

        return total

    return task.recalls(filter_.whole_pieces, [ranking(w) for w in tried])


def _recalls_of_low_passes(task: _Task, tried: Sequence[FilterWeights]) -> list[float]:
    """Return the recall of F with several weights l and widths of the low pass."""
    filter_ = FittedFilter(task.inputs, replace(tried[0], low_pass=0.0))
    widths = sorted({int(w.low_pass_width) for w in tried if w.low_pass})
    low_pass = LowPass(task.inputs.interactions, widths[-1])
    low_pass = low_pass.fading(task.inputs.order, tried[0].recency)

    def pieces_of(users: np.ndarray) -> dict[str, np.ndarray]:
        low = {f"low {width}": low_pass.scores(users, width) for width in widths}
        return {"sum": filter_.scores(users), **low}

    def ranking(w: FilterWeights) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        def total(pieces: Mapping[str, torch.Tensor]) -> torch.Tensor:
            if not w.low_pass:
                return pieces["sum"]
            return pieces["sum"] + w.low_pass * pieces[f"low {int(w.low_pass_width)}"]

        return total

    return task.recalls(pieces_of, [ranking(w) for w in tried])

"""What a run over experts is watched by: how far texts and ids are apart, and what is lost.

PAD (SIGIR 2025), section 4.3: Kendall's tau between the distances of history and target items in
one space and in another tells how much of the first is left in the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.alignment.equations import mean_discrepancy
from recbole_darec.numerics import frequency_buckets

__all__ = ["ExpertDiagnostics", "kendall_tau", "sample_pairs"]

# Enough for a second digit in each of ten buckets, and little beside an epoch.
_PAIRS, _ITEMS = 20_000, 2_048

# Of a method without a gate.
_BUCKETS = 10


class ExpertDiagnostics:
    """Measures the same items and pairs of items at each epoch of a run.

    Args:
        users, items: the training part by user and time, int64 ``[n]``; items count from 1.
        n_items: number of item ids, the padding counted.
        longest: how many items before a target count as its history.
        n_buckets: of the targets, by training frequency.

    Attributes:
        items: numbers of the items of all pairs, from 0, ascending.
    """

    def __init__(
        self, users: Tensor, items: Tensor, n_items: int, longest: int, n_buckets: int
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.history, self.target = sample_pairs(users, items - 1, longest, _PAIRS, generator)
        self.items = torch.unique(torch.cat([self.history, self.target]))
        counts = torch.bincount(items - 1, minlength=n_items - 1)
        self.buckets = frequency_buckets(counts, n_buckets)[self.target]
        self.n_buckets = n_buckets
        self.some = torch.randperm(n_items - 1, generator=generator)[:_ITEMS].sort().values
        self._reference: Tensor | None = None

    @classmethod
    def of(cls, config: Any, dataset: Any, options: Any) -> ExpertDiagnostics:
        """Return those of a run, by its training part and its aligner's options."""
        users, items = (dataset.inter_feat[f] for f in (dataset.uid_field, dataset.iid_field))
        n_buckets = getattr(options, "gate_buckets", _BUCKETS)
        return cls(users, items, dataset.item_num, int(config["MAX_ITEM_LIST_LENGTH"]), n_buckets)

    @torch.no_grad()
    def measure(
        self, of_items: Callable[[Tensor], Any], sides: Callable[..., Any]
    ) -> dict[str, float]:
        """Return all that is watched, by name: see :meth:`taus` and :meth:`discrepancies`.

        Args:
            of_items: returns texts, tables and rows of items by their numbers.
            sides: returns pairs of rows, as :meth:`Aligner.sides`.
        """
        found = self.taus(*of_items(self.items))
        texts, tables, _ = of_items(self.some)
        return {**found, **self.discrepancies(sides(tables, texts))}

    def remember(self, rows: Callable[[Tensor], Tensor]) -> None:
        """Note the distances that later ones are compared with.

        Args:
            rows: returns the rows of items by their numbers.
        """
        self._reference = self._distances(rows(self.items))

    def taus(
        self, texts: Tensor, tables: Mapping[str, Tensor], rows: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Return ``tau_<space>_<expert>_<bucket>``, Kendall's tau of the pairs of one bucket.

        ``tau_ids`` is between an expert's own table and what was remembered, ``tau_texts`` between
        the rows that it ranks with and the texts.

        Args:
            texts: of :attr:`items`, ``[u, width]``.
            tables, rows: by expert, of the same items, ``[u, d]``.
        """
        found: dict[str, float] = {}
        if self._reference is not None:
            for name, table in tables.items():
                self._add(found, f"tau_ids_{name}", self._reference, self._distances(table))
        of_texts = self._distances(texts)
        for name, made in rows.items():
            self._add(found, f"tau_texts_{name}", of_texts, self._distances(made))
        return found

    def _add(self, found: dict[str, float], name: str, first: Tensor, second: Tensor) -> None:
        for bucket in range(1, self.n_buckets + 1):
            own = self.buckets == bucket
            if int(own.sum()) > 1:
                tau = kendall_tau(first[own].numpy(), second[own].numpy())
                if np.isfinite(tau):
                    found[f"{name}_{bucket}"] = tau

    def _distances(self, rows: Tensor) -> Tensor:
        rows = rows.detach().cpu().float()
        sides = (rows[torch.searchsorted(self.items, side)] for side in (self.history, self.target))
        return torch.linalg.vector_norm(next(sides) - next(sides), dim=1)

    @staticmethod
    def discrepancies(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return ``mmd_<name>``, equation (5) with the Gaussians, of pairs of rows by name."""
        return {f"mmd_{name}": float(mean_discrepancy(*both)) for name, both in pairs.items()}


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Return equation (13): concordant less discordant pairs, through all pairs.

    A pair drawn twice, or both ways round, is a tie, which the equation leaves open: what divides
    is the geometric mean of the pairs that are none in each (tau-b), so that equal spaces have 1.

    Args:
        first, second: float ``[n]``, n >= 2.

    Returns:
        NaN where either has one value alone.
    """
    from scipy import stats

    return float(stats.kendalltau(first, second).statistic)


def sample_pairs(
    users: Tensor, items: Tensor, longest: int, n_pairs: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return history and target of pairs drawn evenly among the targets, without those of one item.

    Args:
        users, items: by user and time, int64 ``[n]``.
        longest: how many items before a target are its history.
        n_pairs: how many are drawn.
        generator: of the random numbers.
    """
    starts = torch.searchsorted(users, users)
    place = torch.arange(len(users)) - starts
    targets = (place > 0).nonzero().flatten()
    if not len(targets):
        return items[:0], items[:0]
    drawn = targets[torch.randint(len(targets), (n_pairs,), generator=generator)]
    reach = place[drawn].clamp(max=longest)
    back = (torch.rand(n_pairs, dtype=torch.float64, generator=generator) * reach).long() + 1
    history, target = items[drawn - back.minimum(reach)], items[drawn]
    return history[history != target], target[history != target]

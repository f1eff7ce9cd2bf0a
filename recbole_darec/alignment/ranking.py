"""What an aligner that ranks is handed besides the embeddings of a step; no torch at the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ranking", "TrainedRows"]


@dataclass(frozen=True)
class Ranking:
    """What an aligner that alters scores works on, besides the scores.

    Attributes:
        interactions: the training part, scipy CSR ``[n_users, n_items]``, binary; row and column n
            belong to the n-th row of their kind.
        profiles: frozen profile embeddings, rows and ``kinds`` as in a ``TrainingStep``.
        kinds: which rows of ``profiles`` belong to which kind; the first kind's are ranked for, the
            last kind's are ranked.  Of a sequential backbone that is one kind, and nothing is
            known of whom it is ranked for but what they took.
        found_before: numbers that were found on the same data, by a key that says all that they
            depend on; None where nothing is kept.
        order: where in the user's sequence an item was last taken, from 1 on, scipy CSR of the
            entries of ``interactions``; None of a backbone that knows no order.
    """

    interactions: Any
    profiles: Tensor
    kinds: Mapping[str, slice]
    found_before: Kept | None = None
    order: Any = None


class Kept(Protocol):
    """Lists of numbers by key, kept from run to run."""

    def get(self, key: str) -> list[float] | None:
        """Return what was kept under ``key``, None where there is nothing."""

    def keep(self, key: str, numbers: Sequence[float]) -> None:
        """Keep numbers under ``key``."""


@dataclass(frozen=True)
class TrainedRows:
    """The rows of one kind that a trained model ranks with, beside their profiles.

    Attributes:
        kind: its name, such as ``item``.
        rows: what ranks, after :meth:`Aligner.alter_final`, float ``[n, d]``, without padding.
        profiles: the frozen profile embeddings of the same rows, float ``[n, width]``.
        n_nearest: how many of them a mean is taken of, where a method has no number of its own.
    """

    kind: str
    rows: Tensor
    profiles: Tensor
    n_nearest: int = 10

    def mean_of_nearest(self, asked: Tensor, among: Tensor, n_nearest: int | None = None) -> Tensor:
        """Return the mean of the rows whose ``among`` is nearest by cosine, ``[m, d]``.

        Args:
            asked: float ``[m, w]``.
            among: of each trained row, float ``[n, w]``.
            n_nearest: how many; None for :attr:`n_nearest`.
        """
        from recbole_darec.numerics.neighbours import nearest_among

        numbers, _ = nearest_among(asked, among, n_nearest or self.n_nearest)
        return self.rows[numbers].mean(1)

"""Fixed splits by ratio, in NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_darec.errors import DataError

__all__ = ["Split", "held_out", "parse_ratios", "part_sizes", "ratio_split"]


@dataclass(frozen=True)
class Split:
    """How one file of interactions was split at random into training, validation and test.

    Two splits are equal where they put the same rows of a file into the same parts: ``3:1:1`` and
    ``0.6:0.2:0.2`` are one.

    Attributes:
        ratios: one positive number for each part.
        group_by: ``user``, for a split within each user, or ``none``.
        seed: of the random order.
        interactions: rows of the file.
        shares: the ratios as shares of 1.
    """

    ratios: tuple[float, ...] = field(compare=False)
    group_by: str
    seed: int
    interactions: int
    shares: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        total = sum(self.ratios)
        object.__setattr__(self, "shares", tuple(round(r / total, 9) for r in self.ratios))

    @classmethod
    def from_eval_args(
        cls, eval_args: Mapping[str, Any], *, seed: int, interactions: int
    ) -> Split | None:
        """Return the split that RecBole's ``eval_args`` ask for, None if not by three ratios."""
        ratios = (eval_args.get("split") or {}).get("RS") or ()
        if len(ratios) != 3:
            return None
        by_user = str(eval_args.get("group_by", "user")).lower() == "user"
        return cls(
            ratios=tuple(float(ratio) for ratio in ratios),
            group_by="user" if by_user else "none",
            seed=int(seed),
            interactions=interactions,
        )

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Split:
        """Read what :meth:`note` wrote.

        Raises:
            DataError: an entry is missing or no number.
        """
        try:
            return cls(
                ratios=tuple(float(ratio) for ratio in note["ratios"]),
                group_by=str(note["group_by"]),
                seed=int(note["seed"]),
                interactions=int(note["interactions"]),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            raise DataError(
                "a split is noted as ratios, group_by, seed and interactions, not as "
                f"{str(note)[:80]}"
            ) from None

    def note(self) -> dict[str, Any]:
        """Return the split as it is noted in files that are made from its training part."""
        return {
            "ratios": list(self.ratios),
            "group_by": self.group_by,
            "seed": self.seed,
            "interactions": self.interactions,
        }

    def parts(self, users: np.ndarray) -> np.ndarray:
        """Return the part of each row, ``uint8 [interactions]``; 0 is training.

        Args:
            users: the user of each row, in the file's order, anything sortable.
        """
        groups = users if self.group_by == "user" else None
        return ratio_split(groups, self.interactions, ratios=self.ratios, seed=self.seed)

    def __str__(self) -> str:
        ratios = ":".join(f"{ratio:g}" for ratio in self.ratios)
        return (
            f"{ratios} by {self.group_by}, split_seed {self.seed}, of {self.interactions} "
            "interactions"
        )


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Read ``"3:1:1"`` as the ratios of train, valid and test; raise :class:`DataError` if not."""
    try:
        train, valid, test = (float(part) for part in text.split(":"))
    except ValueError:
        train = valid = test = 0.0
    if not all(0 < ratio < float("inf") for ratio in (train, valid, test)):
        raise DataError(f"a split is 'none' or three positive numbers such as 3:1:1, not '{text}'")
    return train, valid, test


def part_sizes(totals: np.ndarray, ratios: Sequence[float]) -> np.ndarray:
    """How many of each group's rows go to each part, as RecBole 1.2.1 counts them.

    Every part but the first is ``floor(ratio · total)``; the first takes the rest.  A part that
    would be empty although its ratio is not takes one row from the first, the last part before
    the others, as long as the first keeps at least one.

    Args:
        totals: rows of each group, shape ``(groups,)``.
        ratios: one positive number a part; they need not add up to 1.

    Returns:
        Integers of shape ``(groups, parts)``; each row adds up to its total.
    """
    totals = np.asarray(totals, dtype=np.int64)
    shares = [ratio / sum(ratios) for ratio in ratios]
    sizes = np.stack([(share * totals).astype(np.int64) for share in shares], axis=1)
    sizes[:, 0] = totals - sizes[:, 1:].sum(axis=1)
    open_groups = np.ones(len(totals), dtype=bool)
    for part in range(len(shares) - 1, 0, -1):
        open_groups &= sizes[:, 0] > 1
        wanted = shares[part] * totals
        moved = open_groups & (wanted > 0) & (wanted < 1)
        sizes[moved, part] += 1
        sizes[moved, 0] -= 1
    return sizes


def ratio_split(
    groups: np.ndarray | None, n: int, ratios: Sequence[float] = (3, 1, 1), seed: int = 2020
) -> np.ndarray:
    """Split ``n`` rows into parts at random, within each group (the papers: within each user).

    The random order comes from ``numpy.random.RandomState``, whose stream NumPy has frozen: the
    same rows in the same order and the same seed give the same split under every version.

    Args:
        groups: the group (user) of each row, shape ``(n,)``, anything sortable; ``None`` takes
            all rows as one group.
        n: the number of rows.
        ratios: one positive number for each part; at most 256 of them.
        seed: of the random order.

    Returns:
        The part of each row (0 is train), ``uint8`` of shape ``(n,)``.  Each group has
        :func:`part_sizes` rows in each part, so at least one in part 0.

    Raises:
        DataError: a ratio is not a positive number, or ``groups`` is not of length ``n``.
    """
    if not 1 <= len(ratios) <= 256 or not all(0 < ratio < float("inf") for ratio in ratios):
        raise DataError(f"split ratios must be positive numbers, not {list(ratios)}")
    if groups is None:
        codes = np.zeros(n, dtype=np.int64)
    else:
        codes = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    if len(codes) != n:
        raise DataError(f"{len(codes)} groups for {n} rows to split")
    if n == 0:
        return np.zeros(0, dtype=np.uint8)

    totals = np.bincount(codes)
    order = np.lexsort((np.random.RandomState(seed).random_sample(n), codes))
    first_row = np.concatenate(([0], np.cumsum(totals)[:-1]))
    rank = np.arange(n) - np.repeat(first_row, totals)  # place within the group's random order
    ends = np.cumsum(part_sizes(totals, ratios), axis=1)
    labels = np.zeros(n, dtype=np.uint8)
    for end in ends[:, :-1].T:
        labels += (rank >= np.repeat(end, totals)).astype(np.uint8)
    result = np.empty(n, dtype=np.uint8)
    result[order] = labels
    return result


def held_out(tokens: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Tell which rows belong to the held-out ones of their tokens, bool of the same shape.

    Args:
        tokens: such as the item of each interaction, shape ``(n,)``.
        share: of the different tokens, rounded, but at least one where it is not 0.
        seed: of which; the order of the rows does not matter.

    Raises:
        DataError: nothing would be left.
    """
    distinct, codes = np.unique(np.asarray(tokens).astype(str), return_inverse=True)
    count = max(1, round(share * len(distinct))) if share else 0
    if count and count >= len(distinct):
        raise DataError(f"a share of {share:g} of {len(distinct):,} leaves none to train on")
    chosen = np.zeros(len(distinct), dtype=bool)
    chosen[np.random.RandomState(seed).permutation(len(distinct))[:count]] = True
    found: np.ndarray = chosen[codes.reshape(-1)]
    return found

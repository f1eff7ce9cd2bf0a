"""Phases of a training, and experts that rank together: what a method says of them, as data.

This module imports no torch, so that the command line can read an aligner's options.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ONE_PHASE", "Expert", "Phase"]


@dataclass(frozen=True)
class Expert:
    """A map from items to rows, with an encoder of sequences of its own.

    Attributes:
        name: what phases call it.
        has_table: whether it has an embedding table of the items.
    """

    name: str
    has_table: bool = True


@dataclass(frozen=True)
class Phase:
    """One stretch of training: an optimiser and an early stopping of its own.

    Attributes:
        name: of its file and in the log.
        experts: that rank, in training and in validation; empty: all, through the gate.
        trained: experts, and names of the aligner's submodules; empty: everything.
        copies: pairs of experts: the first's table and encoder are put into the second when the
            phase begins.
        copies_encoder: whether the encoder is copied, too, or the table alone.
        losses: names of the aligner's terms that are added; None: all.
        ranks: whether the ranking loss is added.
        freezes_tables: whether the tables of the trained experts stay as they are.
    """

    name: str
    experts: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    copies_encoder: bool = True
    losses: tuple[str, ...] | None = None
    ranks: bool = True
    freezes_tables: bool = False


ONE_PHASE = (Phase("train"),)

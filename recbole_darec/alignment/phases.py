"""Phases of a training, and experts that rank together: what a method says of them, as data.

This module imports no torch, so that the command line can read an aligner's options.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option

__all__ = ["ONE_PHASE", "Expert", "Phase", "PhaseOptions", "check_trained", "planned"]


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
        ranks: whether the ranking loss is added.  Without it the best epoch is the one of the
            smallest training loss, as what the phase ranks is not what it trains.
        freezes_tables: whether the tables of the trained experts stay as they are.
        learning_rate, weight_decay: of its optimiser; None: the run's.
        epochs: at most so many; None: the run's.
        stopping_step: validations without a gain, more of which end it; None: the run's.
        plain: whether it trains the backbone by itself, the first expert, by the ranking loss.  Of
            the method's options it reads none but :class:`PhaseOptions`, and no texts: all methods
            whose first phase is plain train the same there, and may take it from each other.
    """

    name: str
    experts: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    copies_encoder: bool = True
    losses: tuple[str, ...] | None = None
    ranks: bool = True
    freezes_tables: bool = False
    learning_rate: float | None = None
    weight_decay: float | None = None
    epochs: int | None = None
    stopping_step: int | None = None
    plain: bool = False

    def own_options(self) -> dict[str, Any]:
        """Return what it has in the place of the run's options, by their names."""
        names = [name.removeprefix("phase_") for name in PhaseOptions.model_fields]
        own = {name: getattr(self, name) for name in names}
        return {name: value for name, value in own.items() if value is not None}


ONE_PHASE = (Phase("train"),)


class PhaseOptions(Options):
    """What each phase has of its own; a list has a value for each of them, in their order."""

    phase_learning_rate: list[float] | None = option(
        None, "The phases' learning rates; null: learning_rate in each.", above=0.0, high=1e6
    )
    phase_weight_decay: list[float] | None = option(
        None, "The phases' weight decays; null: weight_decay in each.", low=0.0
    )
    phase_epochs: list[int] | None = option(
        None, "The phases' epochs at most; null: epochs in each.", low=1
    )
    phase_stopping_step: list[int] | None = option(
        None,
        "The phases' evaluations without a gain after which they stop; null: stopping_step in "
        "each.",
        low=0,
    )


def planned(phases: Sequence[Phase], options: Any) -> tuple[Phase, ...]:
    """Return the phases with what ``options`` gives to each, where these have such options.

    Raises:
        OptionError: an option has more or fewer values than there are phases.
    """
    found = list(phases)
    for name in PhaseOptions.model_fields:
        values = getattr(options, name, None)
        if values is None:
            continue
        if len(values) != len(found):
            names = ", ".join(phase.name for phase in found)
            raise OptionError(
                f"{name}={list(values)}: there are {len(found)} phases ({names}); give a value "
                "for each"
            )
        field = name.removeprefix("phase_")
        found = [replace(phase, **{field: value}) for phase, value in zip(found, values)]
    return tuple(found)


def check_trained(phase: Phase, trained: Iterable[str]) -> None:
    """Refuse a phase that trains nothing.

    Args:
        phase: one that the model has entered.
        trained: names of the parameters that it trains.

    Raises:
        OptionError: there are none.
    """
    if any(True for _ in trained):
        return
    what = ", ".join(phase.trained)
    why = "its tables are frozen" if phase.freezes_tables else "they have no parameters"
    raise OptionError(f"the phase '{phase.name}' is to train {what}, and {why}")

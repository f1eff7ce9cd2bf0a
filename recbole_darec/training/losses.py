"""The parts of a loss by name: as they are logged, and as they are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole.utils import set_color
from torch import Tensor

from recbole_darec.errors import UserError

__all__ = [
    "by_name",
    "loss_line",
    "number_line",
    "part_names",
    "refuse_not_finite",
    "without_last_part",
]


def part_names(model: Any, count: int) -> tuple[str, ...]:
    """Return the names of a loss's ``count`` parts, ``loss1`` and so on where the model has none.

    A trainer may leave out the last part while it warms up.
    """
    names = tuple(getattr(model, "loss_names", ()))
    return names[:count] if len(names) >= count else tuple(f"loss{n + 1}" for n in range(count))


def by_name(model: Any, losses: Any) -> dict[str, float]:
    """Return an epoch's losses by name, the backbone's first."""
    sums = losses if isinstance(losses, tuple) else (losses,)
    named = dict(zip(part_names(model, len(sums)), sums))
    return dict(sorted(named.items(), key=lambda pair: not pair[0].startswith("base")))


def loss_line(epoch: int, seconds: float, named: dict[str, float], digits: int) -> str:
    """Return the line of the log that an epoch's training gets."""
    parts = [f"{set_color('time', 'blue')}: {seconds:.2f}s"]
    parts += [f"{set_color(name, 'blue')}: {value:.{digits}f}" for name, value in named.items()]
    return f"{set_color(f'epoch {epoch} training', 'green')} [{', '.join(parts)}]"


def refuse_not_finite(steps: Tensor, model: Any, epoch: int) -> None:
    """Raise an error that names the parts which were the first not to be finite.

    Args:
        steps: the parts of the loss in each step, ``[steps, parts]``.
        model: knows the names of the parts.
        epoch: the epoch, for the message.

    Raises:
        UserError: a part is infinite or not a number in some step.
    """
    bad = ~steps.isfinite()
    bad_steps = bad.any(1).nonzero()
    if len(bad_steps):
        first = bad[int(bad_steps[0])].tolist()
        names = part_names(model, len(first))
        parts = ", ".join(name for name, is_bad in zip(names, first) if is_bad)
        raise UserError(
            f"the training loss is not finite in epoch {epoch} ({parts}): lower learning_rate or "
            "the weights of the loss"
        )


def number_line(found: Mapping[str, float]) -> str:
    """Return the numbers as one line of the log."""
    return ", ".join(f"{name}: {value:.4g}" for name, value in found.items())


def without_last_part(loss_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a loss less the last of its parts, which NCL leaves out while it warms up."""

    def shorter(batch: Any) -> Any:
        found = loss_of(batch)
        return found[:-1] if isinstance(found, tuple) else found

    return shorter

"""What happens to the embeddings while they are aligned: their shape, and who moves them.

What is found is plain numbers by name, which the trainer logs once an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recbole_darec.numerics import at_least_float32, no_autocast, unit_rows

__all__ = [
    "describe",
    "effective_rank",
    "gradient_norms",
    "mean_direction",
    "shape_of_rows",
    "step_diagnostics",
]


def step_diagnostics(
    losses: Mapping[str, Tensor], final: Sequence[Tensor], rows: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return what one training step tells, by the names that ``--diagnostics`` logs.

    Args:
        losses: the parts of the step's loss by name; ``grad_X`` is the norm of X's gradient.
        final: the final embeddings that the losses were computed from.
        rows: rows ``[n, d]`` by name; ``rank_Y`` and ``direction_Y`` are the shape of Y.
    """
    found = {f"grad_{name}": value for name, value in gradient_norms(losses, final).items()}
    for name, table in rows.items():
        found.update({f"{what}_{name}": value for what, value in shape_of_rows(table).items()})
    return {name: float(value) for name, value in found.items()}


def describe(found: Mapping[str, float]) -> str:
    """Return the numbers as one line of the log."""
    return ", ".join(f"{name}: {value:.4g}" for name, value in found.items())


def effective_rank(rows: Tensor) -> Tensor:
    """Return the exponential of the entropy of the singular values' shares, of unit rows.

    Roy and Vetterli, "The effective rank: A measure of effective dimensionality" (EUSIPCO 2007).
    It is 1 where all rows point the same or the opposite way, and d where the rows spread evenly
    over all directions.

    Args:
        rows: shape (N, d); scaled to unit length here.

    Returns:
        a float64 scalar in [1, d]; 0 where all rows are zero.
    """
    unit = unit_rows(rows).double()
    with no_autocast(unit):
        values = torch.linalg.eigvalsh(unit.T @ unit).clamp_min(0.0).sqrt()
    total = values.sum()
    shares = values / total.clamp_min(torch.finfo(values.dtype).tiny)
    entropy = -torch.special.xlogy(shares, shares).sum()
    return torch.where(total > 0, entropy.exp(), torch.zeros_like(total))


def mean_direction(rows: Tensor) -> Tensor:
    """Return the squared norm of the mean of the unit rows: 1 where all rows point the same way.

    Args:
        rows: shape (N, d), N >= 1.

    Returns:
        a float64 scalar in [0, 1].
    """
    return unit_rows(rows).double().mean(0).square().sum()


def shape_of_rows(rows: Tensor) -> dict[str, Tensor]:
    """Return ``rank``, the effective rank, and ``direction``, the mean direction's squared norm."""
    rows = at_least_float32(rows.detach())
    return {"rank": effective_rank(rows), "direction": mean_direction(rows)}


def gradient_norms(parts: Mapping[str, Tensor], embeddings: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the norm of the gradient with which each part of a loss reaches the embeddings.

    Args:
        parts: scalar losses by name, of one graph, which is kept.
        embeddings: the tensors that they were computed from.

    Returns:
        a scalar for each part; 0 where it does not depend on the embeddings.
    """
    norms = {}
    for name, part in parts.items():
        total = torch.zeros((), dtype=torch.float64, device=part.device)
        if part.requires_grad:
            found = torch.autograd.grad(
                part.sum(), list(embeddings), retain_graph=True, allow_unused=True
            )
            for gradient in found:
                if gradient is not None:
                    total = total + gradient.double().square().sum()
        norms[name] = total.sqrt()
    return norms

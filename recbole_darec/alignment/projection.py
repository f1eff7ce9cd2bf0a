"""The projection MLPs of DaRec's equation (1)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["TwinProjection", "mlp"]


def mlp(width_in: int, hidden: Sequence[int], width_out: int) -> nn.Sequential:
    """Return an MLP with LeakyReLU between its layers (none after the last)."""
    widths = [width_in, *hidden, width_out]
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(widths)):
        if index:
            layers.append(nn.LeakyReLU())
        linear = nn.Linear(before, after)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
    return nn.Sequential(*layers)


class TwinProjection(nn.Module):
    """The encoders ``f_sh`` and ``f_sp`` of one side, equation (1).

    Args:
        width_in: width of the rows.
        hidden: hidden widths; an empty sequence makes both encoders linear.
        width_out: width ``d`` of the shared and of the specific rows.
    """

    def __init__(self, width_in: int, hidden: Sequence[int], width_out: int) -> None:
        super().__init__()
        self.shared = mlp(width_in, hidden, width_out)
        self.specific = mlp(width_in, hidden, width_out)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shared and the specific rows, each ``[N, d]``, of rows ``[N, width_in]``."""
        # Both first layers read the same wide rows: one matrix product instead of two.
        (to_shared, after_shared), (to_specific, after_specific) = (
            _first_and_rest(encoder) for encoder in (self.shared, self.specific)
        )
        first = nn.functional.linear(
            rows,
            torch.cat([to_shared.weight, to_specific.weight]),
            torch.cat([to_shared.bias, to_specific.bias]),
        )
        of_shared, of_specific = torch.split(
            first, [to_shared.out_features, to_specific.out_features], dim=1
        )
        return after_shared(of_shared), after_specific(of_specific)


def _first_and_rest(encoder: nn.Sequential) -> tuple[nn.Linear, nn.Sequential]:
    first = encoder[0]
    assert isinstance(first, nn.Linear)
    rest = encoder[1:]
    assert isinstance(rest, nn.Sequential)
    return first, rest

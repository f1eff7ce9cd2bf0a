"""The projection MLPs of DaRec's equation (1)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recbole_darec.numerics import by_rows, current_share

__all__ = ["TwinProjection", "mlp"]


class _RowByRow(nn.Sequential):
    """Layers that see each row by itself, which several processes share in training."""

    def forward(self, rows: Tensor) -> Tensor:
        return by_rows(super().forward, rows)

    def of_own_rows(self, rows: Tensor) -> Tensor:
        """Return what the layers make of rows that are one process's already."""
        made: Tensor = super().forward(rows)  # type: ignore[no-untyped-call]
        return made


def mlp(width_in: int, hidden: Sequence[int], width_out: int) -> _RowByRow:
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
    return _RowByRow(*layers)


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
        if current_share().size == 1:
            return self._pair(rows)
        both = by_rows(lambda some: torch.cat(self._pair(some), dim=1), rows)
        shared, specific = both.chunk(2, dim=1)
        return shared, specific

    def _pair(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        # Both first layers read the same wide rows: one matrix product instead of two.
        (to_shared, after_shared), (to_specific, after_specific) = (
            _first_and_rest(encoder) for encoder in (self.shared, self.specific)
        )
        first = nn.functional.linear(
            rows,
            torch.cat([to_shared.weight, to_specific.weight]),
            torch.cat([to_shared.bias, to_specific.bias]),
        )
        if len(after_shared):  # a layer follows, and both of its activations are one pass
            first = self.shared[1](first)
        of_shared, of_specific = torch.split(
            first, [to_shared.out_features, to_specific.out_features], dim=1
        )
        return after_shared.of_own_rows(of_shared), after_specific.of_own_rows(of_specific)


def _first_and_rest(encoder: _RowByRow) -> tuple[nn.Linear, _RowByRow]:
    """Return the first layer, and those behind its activation."""
    first = encoder[0]
    assert isinstance(first, nn.Linear)
    rest = encoder[2:]
    assert isinstance(rest, _RowByRow)
    return first, rest

"""Nearest rows by cosine, and means over them, with the product's transpose known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast, unit_rows

__all__ = ["NeighbourMean", "nearest_among", "nearest_rows"]

# Elements of the block of cosines: 16 MiB of float32 on a CPU.
_CPU_ELEMENTS = 1 << 22
_ACCELERATOR_ELEMENTS = 1 << 26


def nearest_rows(
    rows: Tensor, n_nearest: int, *, max_elements: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the rows of greatest cosine with each row, itself left out.

    Time O(N² d), memory O(N (d + n_nearest) + max_elements).

    Args:
        rows: shape (N, d), of any scale.
        n_nearest: how many; limited to N - 1.
        max_elements: size of the block of cosines; by default 16 MiB on a CPU.

    Returns:
        row numbers, int64 (N, k), and their cosines (N, k), greatest first.
    """
    with torch.no_grad():
        unit = unit_rows(rows)
        n = len(unit)
        k = max(0, min(n_nearest, n - 1))
        numbers = torch.empty((n, k), dtype=torch.int64, device=unit.device)
        cosines = unit.new_empty((n, k))
        height = max(1, (max_elements or _elements(unit)) // max(1, n))
        with no_autocast(unit):
            for start in range(0, n if k else 0, height):
                block = slice(start, min(start + height, n))
                tile = unit[block] @ unit.T
                tile[:, start:].diagonal().fill_(-torch.inf)
                cosines[block], numbers[block] = tile.topk(k, dim=1)
    return numbers, cosines


def nearest_among(
    asked: Tensor, among: Tensor, n_nearest: int, *, max_elements: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the rows of another table of greatest cosine with each row.

    Args:
        asked: shape (M, d), of any scale.
        among: shape (N, d).
        n_nearest: how many; limited to N.
        max_elements: size of the block of cosines; by default 16 MiB on a CPU.

    Returns:
        row numbers of ``among``, int64 (M, k), and their cosines (M, k), greatest first.
    """
    with torch.no_grad():
        ours, theirs = unit_rows(asked), unit_rows(among)
        k = max(0, min(n_nearest, len(theirs)))
        height = max(1, (max_elements or _elements(ours)) // max(1, len(theirs)))
        with no_autocast(ours):
            found = [(block @ theirs.T).topk(k, dim=1) for block in torch.split(ours, height)]
        return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def _elements(rows: Tensor) -> int:
    return _CPU_ELEMENTS if rows.device.type == "cpu" else _ACCELERATOR_ELEMENTS


@dataclass(frozen=True)
class NeighbourMean:
    """The mean over each row's neighbours, a fixed linear map of a table's rows.

    Attributes:
        matrix: sparse CSR, shape (N, N); a row holds its neighbours' weights, which sum to 1, or
            is empty.
        transpose: its transpose, sparse CSR.
    """

    matrix: Tensor
    transpose: Tensor

    @classmethod
    def of(cls, rows: Tensor, kinds: list[slice], n_nearest: int) -> NeighbourMean:
        """Find the neighbours of each row among the rows of its kind.

        A row that points away is no neighbour: only cosines above 0 count.

        Args:
            rows: shape (N, d), what the cosines are taken of.
            kinds: row numbers of the kinds, which cover all rows in their order.
            n_nearest: neighbours of a row, at most.
        """
        starts, ends = [], []
        for kind in kinds:
            numbers, cosines = nearest_rows(rows[kind], n_nearest)
            own = torch.arange(len(numbers), device=rows.device).unsqueeze(1).expand_as(numbers)
            near = cosines > 0
            starts.append(own[near] + kind.start)
            ends.append(numbers[near] + kind.start)
        start, end = torch.cat(starts), torch.cat(ends)
        n = len(rows)
        count = torch.bincount(start, minlength=n)
        weights = 1.0 / count[start].float()
        return cls(_csr(start, end, weights, n), _csr(end, start, weights, n))

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the neighbours' means, float32 (N, d); zero for a row without neighbours."""
        mean: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            rows, self.matrix, self.transpose
        )
        return mean


def _csr(row: Tensor, column: Tensor, values: Tensor, n: int) -> Tensor:
    order = torch.argsort(row * n + column)
    counts = torch.bincount(row, minlength=n)
    return torch.sparse_csr_tensor(
        torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        column[order],
        values[order],
        size=(n, n),
        check_invariants=False,
    )


class _Product(torch.autograd.Function):
    """A fixed sparse matrix times rows; PyTorch's own backward would transpose at every call."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        ctx.dtype = rows.dtype
        with no_autocast(rows):
            return matrix @ rows.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with no_autocast(grads[0]):
            gradient = ctx.transpose @ grads[0].float()
        return gradient.to(ctx.dtype), None, None

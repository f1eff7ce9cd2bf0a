"""Nearest rows by cosine, and means over them, with the product's transpose known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_darec.numerics.rows import no_autocast, unit_rows
from recbole_darec.numerics.topk import top_k_in_blocks

__all__ = ["NeighbourMean", "nearest_among", "nearest_rows"]

# Elements of the block of cosines: 16 MiB of float32 on a CPU.
_CPU_ELEMENTS = 1 << 22
_ACCELERATOR_ELEMENTS = 1 << 26
_FEWEST_ROWS = 64  # of a block; a product of fewer is no faster
# Below, FAISS saves nothing that is felt, and a data set ranks alike with and without it.
INDEXED_ROWS = 50_000
_INDEXED_BLOCK = 4096


def nearest_rows(
    rows: Tensor, n_nearest: int, *, max_elements: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the rows of greatest cosine with each row, itself left out.

    Time O(N² d), memory O(N (d + n_nearest) + max_elements).  Many rows on a CPU are searched by
    FAISS where it is installed (the extra ``index``): its exact index keeps the best ones while it
    multiplies.

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
        if k and n >= INDEXED_ROWS and unit.device.type == "cpu" and max_elements is None:
            faiss = _faiss()
            if faiss is not None:
                return _by_index(faiss, unit, k)
        height, width = _tile(n, max_elements or _elements(unit))
        with no_autocast(unit):
            for start in range(0, n if k else 0, height):
                block = slice(start, min(start + height, n))
                cosines[block], numbers[block] = _nearest_of(unit, block, k, width)
    return numbers, cosines


def _tile(n: int, elements: int) -> tuple[int, int]:
    """Return rows and columns of a block of cosines: all columns while some rows fit beside."""
    height = max(1, elements // n)
    if height >= _FEWEST_ROWS or n <= _FEWEST_ROWS:
        return height, n
    return _FEWEST_ROWS, max(1, elements // _FEWEST_ROWS)


def _nearest_of(unit: Tensor, block: slice, k: int, width: int) -> tuple[Tensor, Tensor]:
    """Return cosines and numbers of the k nearest of some rows, a block of columns at a time."""

    def cosines(first: int, end: int) -> Tensor:
        tile = unit[block] @ unit[first:end].T
        start, stop = max(block.start, first), min(block.stop, end)
        if start < stop:  # a row is not its own neighbour
            own = tile[start - block.start :, start - first : stop - first]
            own.diagonal().fill_(-torch.inf)
        return tile

    return top_k_in_blocks(cosines, len(unit), k, width)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def _by_index(faiss: Any, unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return what :func:`nearest_rows` does, by FAISS's exact index of inner products."""
    table = unit.float().contiguous().numpy()
    index = faiss.IndexFlatIP(table.shape[1])
    index.add(table)
    numbers = torch.empty((len(unit), k), dtype=torch.int64)
    cosines = unit.new_empty((len(unit), k))
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        for start in range(0, len(table), _INDEXED_BLOCK):
            block = slice(start, min(start + _INDEXED_BLOCK, len(table)))
            values, found = (torch.from_numpy(part) for part in index.search(table[block], k + 1))
            # A row need not be the nearest of its equals: itself is left out wherever it stands,
            # and the last one where equals have crowded it out.
            own = found == torch.arange(block.start, block.stop).unsqueeze(1)
            own[:, -1] |= ~own.any(1)
            numbers[block] = found[~own].view(-1, k)
            cosines[block] = values[~own].view(-1, k).to(unit.dtype)
    finally:
        faiss.omp_set_num_threads(before)
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

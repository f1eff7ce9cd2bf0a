"""Equation (6): the preference centers of one side."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_darec.numerics.rows import at_least_float32, no_autocast
from recbole_darec.numerics.streams import Beside

__all__ = ["centers_of", "kmeans"]

# Elements of the matrix of distances that stand in memory at a time: 1 MiB of float32 stay in a
# core's cache; an accelerator wants few, large launches.
_CPU_ELEMENTS = 1 << 18
_ACCELERATOR_ELEMENTS = 1 << 26

# Up to so many clusters a product with their one-hot labels is no slower than adding row by row.
_FEW_CLUSTERS = 64


@torch.no_grad()
def kmeans(
    rows: Tensor,
    k: int,
    *,
    init_centers: Tensor | None = None,
    iterations: int = 10,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Cluster rows by Lloyd's iterations, f_C of equation (6), without gradient.

    The number of steps is fixed and nothing is read back from the device.  After each step a
    cluster that lost all its rows moves to a row far from its own center (a different one for each
    such cluster), so that a center that died can live again.  When ``k`` exceeds the number of
    distinct rows the surplus clusters lie on top of others, and have no rows or rows equal to
    theirs.  A row equally near to several centers, up to rounding, belongs to any one of them.
    Time O(iterations N k d), memory O((N + k) d): the distances are never all there at once.

    Args:
        rows: E_sh of one side, shape (N, d), N >= 1.
        k: K, the number of preference centers; it may exceed N.
        init_centers: a warm start, shape (k, d), for instance the centers of the last training
            step.  Without it the start is drawn as k-means++ draws it: each next center is a row,
            with probability proportional to its squared distance from the nearest center so far.
        iterations: how many times rows are assigned and centers moved, at least 1.
        generator: source of the draws; by default PyTorch's own for the device of ``rows``.

    Returns:
        ``labels``, shape (N,), int64 in [0, k): the last assignment; and ``centers``, shape
        (k, d): the means of those clusters, or for an empty one the row that it moved to.

    Raises:
        ValueError: no rows, ``k`` or ``iterations`` below 1, or a warm start of another shape.
    """
    if rows.dim() != 2 or rows.shape[0] == 0:
        raise ValueError(f"kmeans needs a matrix of at least one row, got {tuple(rows.shape)}")
    if k < 1 or iterations < 1:
        raise ValueError(f"k and iterations must be at least 1, got {k} and {iterations}")
    rows = at_least_float32(rows)
    if init_centers is None:
        centers = _spread_rows(rows, k, generator)
    elif init_centers.shape == (k, rows.shape[1]):
        centers = init_centers.to(rows)
    else:
        raise ValueError(
            f"init_centers must have shape ({k}, {rows.shape[1]}), got {tuple(init_centers.shape)}"
        )
    squared_norms = rows.square().sum(-1)
    search = Beside(rows.device)  # for rows that a cluster may move to, while the means are found
    with no_autocast(rows):
        for _ in range(iterations):
            nearest, labels = _nearest_center(rows, centers)
            search.takes(rows, squared_norms, nearest)
            with search.inside():
                far = rows[(nearest + squared_norms).topk(min(k, rows.shape[0])).indices]
            means, counts = _means(rows, labels, k)
            search.gives(far)
            empty = counts == 0
            turn = (empty.cumsum(0) - 1).clamp(0, far.shape[0] - 1)
            centers = torch.where(empty.unsqueeze(-1), far[turn], means)
    return labels, centers


def _nearest_center(rows: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's least ‖x - c‖² - ‖x‖² and its center, shapes (N,), a block at a time."""
    most = _CPU_ELEMENTS if rows.device.type == "cpu" else _ACCELERATOR_ELEMENTS
    squared = centers.square().sum(-1, keepdim=True)
    found = [
        # ‖x‖² is the same for all centers of a row.
        torch.addmm(squared, centers, block.t(), alpha=-2).min(0)
        for block in torch.split(rows, max(1, most // len(centers)))
    ]
    if len(found) == 1:
        return found[0].values, found[0].indices
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _means(rows: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return what :func:`centers_of` does, without gradient, for many clusters."""
    if k <= _FEW_CLUSTERS:
        return centers_of(rows, labels, k)
    if rows.device.type != "cpu":
        return _means_in_blocks(rows, labels, k, _ACCELERATOR_ELEMENTS)
    counts = torch.bincount(labels, minlength=k)
    sums = rows.new_zeros(k, rows.shape[1]).index_add_(0, labels, rows)
    return sums / counts.clamp_min(1).unsqueeze(-1), counts


def _means_in_blocks(rows: Tensor, labels: Tensor, k: int, elements: int) -> tuple[Tensor, Tensor]:
    """Return the means by products with one-hot labels: the same bits each time on a GPU too."""
    sums, counts = rows.new_zeros(k, rows.shape[1]), labels.new_zeros(k)
    clusters = torch.arange(k, device=labels.device).unsqueeze(-1)
    size = max(1, elements // k)
    for some, of in zip(torch.split(rows, size), torch.split(labels, size)):
        member = of == clusters
        counts += member.sum(-1)
        sums.addmm_(member.to(rows.dtype), some)
    return sums / counts.clamp_min(1).unsqueeze(-1), counts


def _spread_rows(rows: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """Draw k rows as k-means++ does, shape (k, d).

    An exponential race draws index i with probability w_i / Σ w in one argmax, without the sum
    that an inverse distribution function would need; with all weights 0, row 0 wins.
    """
    device = rows.device if generator is None else generator.device
    tiny = torch.finfo(rows.dtype).tiny
    weights = torch.ones_like(rows[:, 0])
    centers: list[Tensor] = []
    for _ in range(k):
        clock = torch.empty(rows.shape[0], dtype=rows.dtype, device=device)
        clock.exponential_(generator=generator).clamp_min_(tiny)
        drawn = (weights / clock.to(rows.device)).argmax()
        center = rows.index_select(0, drawn.view(1))
        distances = (rows - center).square().sum(-1)
        weights = torch.minimum(weights, distances) if centers else distances
        centers.append(center)
    return torch.cat(centers)


def centers_of(rows: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Mean of the members of each cluster: C of equation (6), with gradient to the rows.

    A product with the one-hot labels, because unlike a scattered addition it gives the same bits
    every time on a GPU too, and is no slower for K of the order of ten.

    Args:
        rows: E_sh of one side, shape (N, d).
        labels: the cluster of each row, shape (N,), int64 in [0, k).
        k: K, the number of clusters.

    Returns:
        ``centers``, shape (k, d), float32 for half-precision input; and ``counts``, shape (k,),
        int64, the number of members.  An empty cluster has the zero row for a center, without
        gradient: mask it by ``counts > 0``.
    """
    rows = at_least_float32(rows)
    clusters = torch.arange(k, device=labels.device).unsqueeze(-1)
    member = (labels == clusters).to(rows.dtype)
    counts = member.sum(-1)
    with no_autocast(rows):
        sums = member @ rows
    return sums / counts.clamp_min(1).unsqueeze(-1), counts.long()

"""Contrast of rows with many candidates, in blocks.

The matrix of all inner products of B anchors with M candidates would be written, read back for the
exp, for the sum and for both gradients: the time goes to memory traffic.  Here a block of anchors
at a time stands in one buffer, and its exponentials give the sum and both gradients before they are
overwritten.  The result is a scalar, so the backward pass is two scalings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_darec.numerics.rows import at_least_float32, no_autocast, unit_rows
from recbole_darec.numerics.shares import own_rows

__all__ = ["info_nce", "log_sum_exp"]

# Elements of the buffer: 2 MiB of float32 stay in a core's cache;
# an accelerator wants few, large launches.
_CPU_ELEMENTS = 1 << 19
_ACCELERATOR_ELEMENTS = 1 << 26

# Anchors of a block: with fewer, the time goes to reading the candidates again and again.
_LEAST_ROWS = 32

# exp(x) as exp2(x log2 e): PyTorch's exp2 takes a third of the time of its exp on a CPU.
_LOG2_E = 1.4426950408889634

# With inner products within ±60 a sum over 1e9 candidates stays within float32, unshifted.
_UNSHIFTED = 60.0


def info_nce(
    anchors: Tensor,
    positives: Tensor,
    candidates: Tensor,
    temperature: float,
    *,
    weights: Tensor | None = None,
    candidate_weights: Tensor | None = None,
    max_elements: int | None = None,
) -> Tensor:
    """Sum over the anchors of -log(exp(cos(a, p) / τ) / Σ_c exp(cos(a, c) / τ)).

    The candidates are the whole denominator: where the positive belongs into it, it must be among
    them.  Rows are scaled to unit length here; a zero row has cosine 0 with every other.  A row
    that stands ``n`` times in a batch is given once, with weight ``n``.

    Args:
        anchors: shape (B, d).
        positives: shape (B, d), row by row the anchors' partners.
        candidates: shape (M, d), M >= 1.
        temperature: τ, above 0.
        weights: a weight of each anchor's term, shape (B,), without gradient; by default 1.
        candidate_weights: how often each candidate counts in the denominator, shape (M,), above 0,
            without gradient; by default once.
        max_elements: size of the block's buffer; by default 2 MiB on a CPU.

    Returns:
        a scalar, float32 for half-precision input; 0 with zero gradient without anchors.

    Raises:
        ValueError: τ is not above 0, there are no candidates, or shapes do not fit.
    """
    if not temperature > 0.0:
        raise ValueError(f"the temperature must be above 0, got {temperature}")
    if anchors.shape != positives.shape:
        raise ValueError(
            f"each anchor needs its positive: shapes {tuple(anchors.shape)} and "
            f"{tuple(positives.shape)}"
        )
    scaled = unit_rows(anchors) / temperature
    near = (scaled * unit_rows(positives)).sum(-1)
    if weights is not None:
        near = near * weights
    spread = log_sum_exp(
        scaled,
        unit_rows(candidates),
        weights=weights,
        candidate_weights=candidate_weights,
        bound=1.0 / temperature,
        max_elements=max_elements,
    )
    return spread - near.sum()


def log_sum_exp(
    anchors: Tensor,
    candidates: Tensor,
    *,
    weights: Tensor | None = None,
    candidate_weights: Tensor | None = None,
    bound: float | None = None,
    max_elements: int | None = None,
) -> Tensor:
    """Sum over the anchors of w_a log Σ_c v_c exp(a · c), gradients to anchors and candidates.

    First derivatives only.  Time O(B M d), memory O((B + M) d + max_elements).  Where several
    processes train one model, each sums over its share of the anchors: the mean over the processes
    is the sum over all.

    Args:
        anchors: shape (B, d).
        candidates: shape (M, d), M >= 1.
        weights: w, shape (B,), without gradient; by default 1.
        candidate_weights: v, shape (M,), above 0, without gradient; by default 1.
        bound: an upper bound of every abs(a · c), where one is known: up to 60 it saves the search
            for each row's largest product.
        max_elements: size of the block's buffer in elements, at least one row's; by default 2 MiB
            of float32 on a CPU, or 32 rows.

    Returns:
        a scalar, float32 for half-precision input; 0 with zero gradient without anchors.

    Raises:
        ValueError: there are no candidates, or shapes do not fit.
    """
    if anchors.dim() != 2 or candidates.dim() != 2 or anchors.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"anchors and candidates must be matrices of one width, got {tuple(anchors.shape)} "
            f"and {tuple(candidates.shape)}"
        )
    if not len(candidates):
        raise ValueError("there must be at least one candidate")
    anchors, candidates = at_least_float32(anchors), at_least_float32(candidates)
    if not len(anchors):
        return anchors.sum() * 0.0 + candidates.sum() * 0.0
    weights = anchors.new_ones(len(anchors)) if weights is None else weights.to(anchors)
    if weights.shape != anchors.shape[:1]:
        raise ValueError(f"{len(anchors)} anchors need as many weights, got {tuple(weights.shape)}")
    if candidate_weights is not None:
        candidate_weights = candidate_weights.to(candidates)
        if candidate_weights.shape != candidates.shape[:1]:
            raise ValueError(
                f"{len(candidates)} candidates need as many weights, got "
                f"{tuple(candidate_weights.shape)}"
            )
    if max_elements is None:
        most = _CPU_ELEMENTS if anchors.device.type == "cpu" else _ACCELERATOR_ELEMENTS
        max_elements = max(most, _LEAST_ROWS * len(candidates))
    own, factor, _ = own_rows(len(anchors))
    if own.stop - own.start < len(anchors):
        anchors, weights = anchors[own], weights[own] * factor
    shift = bound is None or bound > _UNSHIFTED
    with no_autocast(anchors):
        total: Tensor = _LogSumExp.apply(  # type: ignore[no-untyped-call]
            anchors, candidates, weights, candidate_weights, shift, max_elements
        )
    return total


class _LogSumExp(torch.autograd.Function):
    """The weighted sum of the rows' log-sums, with its gradients found on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        weights: Tensor,
        candidate_weights: Tensor | None,
        shift: bool,
        max_elements: int,
    ) -> Tensor:
        # Frozen candidates, such as profiles, save the dearest of three products.
        grad_anchors = torch.empty_like(anchors) if ctx.needs_input_grad[0] else None
        grad_candidates = torch.zeros_like(candidates) if ctx.needs_input_grad[1] else None
        left = anchors * _LOG2_E
        n, m = len(anchors), len(candidates)
        height = max(1, min(n, max_elements // m))
        buffer = anchors.new_empty(height * m)
        logs = anchors.new_empty(n)
        right = candidates.t()
        for start in range(0, n, height):
            rows = slice(start, min(start + height, n))
            tile = buffer[: (rows.stop - start) * m].view(-1, m)
            torch.mm(left[rows], right, out=tile)
            if shift:
                largest = tile.amax(1)
                tile.sub_(largest.unsqueeze(1))
            tile.exp2_()
            if candidate_weights is not None:
                tile *= candidate_weights
            sums = tile.sum(1)
            logs[rows] = sums.log()
            if shift:
                logs[rows] += largest / _LOG2_E
            scale = (weights[rows] / sums).unsqueeze(1)
            if grad_anchors is not None:
                torch.mm(tile, candidates, out=grad_anchors[rows])
                grad_anchors[rows] *= scale
            if grad_candidates is not None:
                grad_candidates.addmm_(tile.t(), anchors[rows] * scale)
        ctx.save_for_backward(grad_anchors, grad_candidates)
        return (logs * weights).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        found = [None if g is None else g * grad_total.to(g.dtype) for g in ctx.saved_tensors]
        return (*found, None, None, None, None)

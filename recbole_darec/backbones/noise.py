"""Propagation with noise after each layer: the views that SimGCL contrasts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.backbones.propagation import gradient_over, n_aggregated
from recbole_darec.numerics import csr_product, no_autocast

__all__ = ["noisy_views"]


class _NoisyViews(torch.autograd.Function):
    """Views that differ in the noise after each layer.

    The noise has the sign of what it is added to, whose derivative is 0: to the gradient it is a
    constant, and all views have the gradient of the propagation without it.  They are propagated
    side by side, and what comes back is added before it is propagated.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ego: Tensor,
        matrix: Tensor,
        n_layers: int,
        noise: float,
        include_ego: bool,
        n_views: int,
    ) -> Tensor:
        ctx.matrices = [matrix] * n_layers
        ctx.include_ego = include_ego
        ctx.dtype = ego.dtype
        n_nodes, width = ego.shape
        layer = ego.float()
        shape = (n_nodes, n_views, width)
        total = layer.unsqueeze(1).repeat(1, n_views, 1) if include_ego else layer.new_zeros(shape)
        with no_autocast(ego):
            for _ in range(n_layers):
                # The first product is the same in all views.
                product = csr_product(matrix, layer).view(n_nodes, -1, width)
                draws = torch.rand(shape, dtype=layer.dtype, device=layer.device)
                lengths = torch.linalg.vector_norm(draws, dim=-1, keepdim=True)
                draws *= noise / lengths.clamp_min_(torch.finfo(layer.dtype).tiny)
                moved = torch.addcmul(product, product.sign(), draws)
                total += moved
                layer = moved.view(n_nodes, -1)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = gradient_over(ctx.matrices, grads[0].float().sum(1), ctx.include_ego)
        return grad.to(ctx.dtype), None, None, None, None, None


def noisy_views(
    ego: Tensor,
    graph: BipartiteGraph,
    n_layers: int,
    *,
    noise: float,
    how: str = "mean",
    include_ego: bool = True,
    n_views: int = 2,
) -> tuple[Tensor, ...]:
    """Propagate ``ego`` with noise after each layer, and aggregate; several views at once.

    SimGCL, equations (6) and (7) (Yu et al., SIGIR 2022, section 3.1): a row ``e`` of each layer
    becomes ``e + ε sign(e) ⊙ u / |u|`` with ``u`` uniform on [0, 1)^d, and goes on so.  The draws
    are torch's global generator's.

    Args:
        ego: float ``[n_nodes, d]``, the users' embeddings above the items'.
        graph: the normalised adjacency, values symmetric.
        n_layers: number of propagation layers ``L``.
        noise: ``ε``, the Euclidean length of the noise of a row without zeros.
        how: ``"mean"`` or ``"sum"``.
        include_ego: whether layer 0 is among the aggregated ones.
        n_views: number of views.

    Returns:
        ``n_views`` tensors, float32 ``[n_nodes, d]``.
    """
    views: Tensor = _NoisyViews.apply(  # type: ignore[no-untyped-call]
        ego, graph.matrix(), n_layers, noise, include_ego, n_views
    )
    if how == "mean":
        views = views / n_aggregated(n_layers, include_ego)
    return views.unbind(1)

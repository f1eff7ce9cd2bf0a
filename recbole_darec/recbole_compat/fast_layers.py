"""RecBole's transformer layers compute GELU in five steps, each with a tensor of its own.

PyTorch has the same function in one.
"""

from __future__ import annotations

from recbole.model.layers import FeedForward
from torch import nn
from torch.nn.functional import gelu

__all__ = ["fuse_gelu"]


def fuse_gelu(model: nn.Module) -> None:
    """Have a model's transformer layers use PyTorch's GELU where they have RecBole's."""
    for layer in model.modules():
        if isinstance(layer, FeedForward) and layer.intermediate_act_fn == layer.gelu:
            layer.intermediate_act_fn = gelu

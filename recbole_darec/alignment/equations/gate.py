"""PAD's gate over experts, equation (11): the weights."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gate_weights"]


def gate_weights(logits: Tensor) -> Tensor:
    """Return sigmoid(a_k) through the sum over the experts, shape (N, K), of logits (N, K)."""
    # The sigmoids' logarithms, so that experts that are all far below 0 still share a sum of 1.
    return torch.softmax(torch.nn.functional.logsigmoid(logits), dim=-1)

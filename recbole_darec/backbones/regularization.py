"""L2 terms of the backbones."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["squared_norms"]


def squared_norms(parameters: Iterable[Tensor]) -> Tensor:
    """Return the sum of ``||W||^2`` over whole parameter tables, a scalar.

    This is RLMRec's regularisation (all parameters, every step), not RecBole's (the embeddings of
    the batch, divided by its size): the two weights are not interchangeable.
    """
    return torch.stack([table.square().sum() for table in parameters]).sum()

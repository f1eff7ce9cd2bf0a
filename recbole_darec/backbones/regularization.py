"""L2 terms of the backbones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = ["batch_norms", "squared_norms"]


def batch_norms(tables: Sequence[Tensor], *, squared: bool) -> Tensor:
    """Return RecBole's ``EmbLoss`` of a batch's embeddings, a scalar.

    The norms of the whole tables are added and divided by the number of rows; squared, they are
    halved, too.  RecBole's makes a zero on the processor, for which a GPU has to be waited for.

    Args:
        tables: float ``[batch, d]`` each.
        squared: whether each norm is squared.
    """
    norms = torch.stack([torch.linalg.vector_norm(table) for table in tables])
    if squared:
        return norms.square().sum() / (2 * len(tables[-1]))
    return norms.sum() / len(tables[-1])


def squared_norms(parameters: Iterable[Tensor]) -> Tensor:
    """Return the sum of ``||W||^2`` over whole parameter tables, a scalar.

    This is RLMRec's regularisation (all parameters, every step), not RecBole's (the embeddings of
    the batch, divided by its size): the two weights are not interchangeable.
    """
    return torch.stack([table.square().sum() for table in parameters]).sum()

"""Losses of a ranking: scores of what was taken against scores of what was not."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from recbole_darec.numerics.contrast import log_sum_exp
from recbole_darec.numerics.shares import sharing

__all__ = ["RANK_LOSSES", "bce_loss", "bpr_loss", "softmax_loss", "softmax_loss_of_rows"]


def bce_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Return -mean log sigmoid(s+) - mean log(1 - sigmoid(s-)), a scalar.

    Args:
        positive: scores of the targets, any shape.
        negative: scores of the negatives, any shape.
    """
    return -logsigmoid(positive).mean() - logsigmoid(-negative).mean()


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Return -mean log sigmoid(s+ - s-), a scalar; both of one shape."""
    return -logsigmoid(positive - negative).mean()


def softmax_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross entropy of the targets among all items, a scalar.

    Args:
        scores: of all items, ``[m, n_items]``; column 0 is the padding's and left out.
        targets: item ids from 1 on, int64 ``[m]``.
    """
    return cross_entropy(scores[:, 1:], targets - 1)


def softmax_loss_of_rows(rows: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Return :func:`softmax_loss` of the products of rows with a table, which are never all there.

    First derivatives only.

    Args:
        rows: ``[m, d]``, m >= 1; where several processes share a step, this process's.
        table: of all items, ``[n_items, d]``; row 0 is the padding's and left out.
        targets: item ids from 1 on, int64 ``[m]``.
    """
    with sharing():
        spread = log_sum_exp(rows, table[1:])
    near = (rows * table[targets]).sum()
    return (spread - near) / len(rows)


RANK_LOSSES = {"bce": bce_loss, "bpr": bpr_loss, "ce": softmax_loss}

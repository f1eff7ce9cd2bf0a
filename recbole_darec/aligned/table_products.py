"""The products of a step's rows with the item table, as a loss takes them: never all there.

RecBole's sequential models form all scores of a step, ``[m, n_items]``, to rank each target by a
softmax.  Here the product that they ask for comes back as its two factors, and the loss that they
hand it to goes through it in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Products", "products_as_factors"]

_PRODUCTS = {torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}


class Products(NamedTuple):
    """Scores that are not computed: ``rows @ table.t()``."""

    rows: Tensor
    table: Tensor


class products_as_factors(TorchFunctionMode):
    """Have products of rows with a whole table be :class:`Products` while the context lasts.

    Args:
        n_items: rows of the table.
    """

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self._n_items = n_items

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in _PRODUCTS and len(args) == 2 and not kwargs:
            rows, transposed = args
            if (
                rows.dim() == transposed.dim() == 2
                and transposed.shape[1] == self._n_items
                and transposed.t().is_contiguous()
            ):
                return Products(rows, transposed.t())
        return func(*args, **(kwargs or {}))

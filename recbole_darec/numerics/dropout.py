"""Dropout whose mask costs a quarter of torch's on a CPU, where that draws one number an entry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["cheap_dropout", "dropout_factors"]

_STEPS = 1 << 16  # values of the 16 random bits that an entry gets


def dropout_factors(shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
    """Return 0 where dropout drops, and what makes up for it elsewhere.

    An entry is dropped with a probability that is ``p`` to within 2^-17; the factors' mean is 1.

    Args:
        shape: of the factors.
        p: above 0 and below 1.
        like: has their type; they are on the CPU.
    """
    n = torch.Size(shape).numel()
    words = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = min(max(round((1 - p) * _STEPS), 1), _STEPS - 1)  # of the values
    keep = words.view(torch.int16)[:n].view(shape) < kept - _STEPS // 2
    return keep.to(like.dtype).mul_(_STEPS / kept)


@contextlib.contextmanager
def cheap_dropout() -> Iterator[None]:
    """Have ``torch.nn.functional.dropout``, and so ``nn.Dropout``, draw 16 bits an entry on a CPU.

    What is drawn comes from torch's generator, as before; what is on another device, is dropped in
    place or not at all goes torch's way.
    """
    functions: Any = torch.nn.functional
    stock = functions.dropout

    def dropout(
        input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        on_cpu = input.device.type == "cpu" and input.is_floating_point()
        if not training or inplace or not on_cpu or not 0 < p < 1:
            dropped: Tensor = stock(input, p, training, inplace)
            return dropped
        return input * dropout_factors(tuple(input.shape), p, input)

    functions.dropout = dropout
    try:
        yield
    finally:
        functions.dropout = stock

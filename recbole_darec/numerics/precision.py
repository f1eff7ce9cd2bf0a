"""How exactly a process computes: its products, and its smallest numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["exact_products", "flushed_denormals"]

_DENORMAL = 1e-40  # in float32


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Multiply float32 as float32, and put the setting back afterwards.

    TF32 is off by a thousandth and bfloat16 by a hundredth, too much for a comparison of two
    results that should be one.
    """
    backends: list[Any] = [
        torch.backends.cuda.matmul,
        getattr(torch.backends.mkldnn, "matmul", None),
    ]
    if all(hasattr(backend, "fp32_precision") for backend in backends):
        # PyTorch 2.9 and later: what is set by these names refuses to be read by the older one.
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            yield
        finally:
            for backend, precision in zip(backends, before):
                backend.fp32_precision = precision
    else:
        older = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(older)


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Have this thread take numbers below 1.2e-38 as 0 on a CPU, and put the setting back.

    Filters of a convolution that are never active shrink to such numbers under a penalty, and so do
    moments of rows that are not drawn; their products take many times as long as others.
    """
    before = not bool(torch.tensor(_DENORMAL).mul(1.0))
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)

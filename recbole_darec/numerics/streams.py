"""A second stream for a part of a recorded step, so that small kernels run beside each other."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["Beside"]


class Beside:
    """A stream beside that of a step, while the step is recorded as a CUDA graph; else none.

    The part runs, forward and backward, from :meth:`takes` on, beside whatever the step does until
    :meth:`gives`; values are the same to the bit.  Memory goes back to the stream that it was taken
    on, and would be given out again there while the other one still reads it: each tensor that
    crosses has to be named.

        part = Beside(rows.device)
        part.takes(rows)
        ...
        with part.inside():
            found = of(rows)
        part.gives(found)

    Args:
        device: where the step is taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._other: torch.cuda.Stream | None = None
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            self._main = torch.cuda.current_stream(device)
            self._other = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def takes(self, *tensors: Tensor | None) -> None:
        """Begin; these are the step's tensors that the part reads."""
        if self._other is not None:
            self._other.wait_stream(self._main)
            _keep(tensors, self._other)

    def inside(self) -> AbstractContextManager[Any]:
        """Return a context whose block is the part."""
        return nullcontext() if self._other is None else torch.cuda.stream(self._other)

    def gives(self, *tensors: Tensor | None) -> None:
        """Wait for the end; these are the part's tensors that the step reads."""
        if self._other is not None:
            self._main.wait_stream(self._other)
            _keep(tensors, self._main)


def _keep(tensors: tuple[Tensor | None, ...], reader: torch.cuda.Stream) -> None:
    for tensor in tensors:
        if tensor is not None:
            tensor.record_stream(reader)

"""Streams beside that of a recorded step, so that its small kernels run beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

__all__ = ["Beside", "step_begins"]

# Where the step that is being recorded began.
_BEGAN: ContextVar[Any] = ContextVar("_BEGAN", default=None)


@contextmanager
def step_begins() -> Iterator[None]:
    """Remember that a step is recorded from here on, for parts that wait for nothing in it."""
    began = None
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():  # type: ignore[no-untyped-call]
        began = torch.cuda.Event()  # type: ignore[no-untyped-call]
        began.record()
    token = _BEGAN.set(began)
    try:
        yield
    finally:
        _BEGAN.reset(token)


class Beside:
    """A stream beside the current one, while a step is recorded as a CUDA graph; else none.

    The part runs, forward and backward, from :meth:`takes` on, beside whatever the step does until
    :meth:`gives`; values are the same to the bit.  Memory goes back to the stream that it was taken
    on, and would be given out again there while the other one still reads it: each tensor that
    crosses has to be named.  Both may be called again, for what crosses later.

        part = Beside(rows.device)
        part.takes(rows)
        ...
        with part.inside():
            found = of(rows)
        part.gives(found)

    Args:
        device: where the step is taken.
        from_start: begin with the step itself and without :meth:`takes`: for a part that reads
            nothing that the step makes.
    """

    def __init__(self, device: torch.device, *, from_start: bool = False) -> None:
        self._other: torch.cuda.Stream | None = None
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            self._main = torch.cuda.current_stream(device)
            self._other = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            began = _BEGAN.get() if from_start else None
            if began is not None:
                self._other.wait_event(began)
            elif from_start:
                self._other.wait_stream(self._main)

    def takes(self, *tensors: Tensor | None) -> None:
        """Wait for what the step has done so far; these are its tensors that the part reads."""
        if self._other is not None:
            self._other.wait_stream(self._main)
            _keep(tensors, self._other)

    def inside(self) -> AbstractContextManager[Any]:
        """Return a context whose block is the part, or a piece of it."""
        return nullcontext() if self._other is None else torch.cuda.stream(self._other)

    def gives(self, *tensors: Tensor | None) -> None:
        """Have the step wait for the part so far; these are its tensors that the step reads."""
        if self._other is not None:
            self._main.wait_stream(self._other)
            _keep(tensors, self._main)


def _keep(tensors: tuple[Tensor | None, ...], reader: torch.cuda.Stream) -> None:
    for tensor in tensors:
        if tensor is not None:
            tensor.record_stream(reader)

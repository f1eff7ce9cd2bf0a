"""What an optimiser keeps, out of the memory while the model is evaluated."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from recbole_darec.training.blocks import give_back_memory

__all__ = ["set_aside"]

_FROM_BYTES = 256 << 20


@contextlib.contextmanager
def set_aside(optimizer: torch.optim.Optimizer, folder: Path) -> Iterator[None]:
    """Keep a large state of an optimiser in a file that has no name, and put it back afterwards.

    The moments of Adam are twice the parameters, and an evaluation has tables of its own.  Nothing
    is done with a small state, or one on an accelerator, or where the file cannot be written.

    Args:
        optimizer: whose step is not called in the meantime.
        folder: on a disk that has room for it, as for a snapshot.
    """
    places = [
        (state, name)
        for state in optimizer.state.values()
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.dim()
    ]
    if sum(state[name].nbytes for state, name in places) < _FROM_BYTES:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            for state, name in places:
                file.write(memoryview(state[name].contiguous().numpy()).cast("B"))
            file.flush()
        except OSError:
            yield
            return
        shapes = [(state[name].numpy().dtype, state[name].shape) for state, name in places]
        for state, name in places:
            state[name] = None
        give_back_memory()
        try:
            yield
        finally:
            give_back_memory()
            file.seek(0)
            for (state, name), (dtype, shape) in zip(places, shapes):
                state[name] = _read(file, dtype, tuple(shape))


def _read(file: IO[bytes], dtype: Any, shape: tuple[int, ...]) -> torch.Tensor:
    array = np.empty(shape, dtype)
    into = memoryview(array.data).cast("B")
    done = 0
    while done < len(into):
        got = file.readinto(into[done:])  # type: ignore[attr-defined]
        if not got:
            raise OSError("the optimiser's state could not be read back")
        done += got
    return torch.from_numpy(array)

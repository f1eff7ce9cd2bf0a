"""The same model in several processes of one machine: one for each GPU, or some on the CPU."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

from recbole_darec.encoders.base import Batches, Encoded, EncodedBatches
from recbole_darec.encoders.sentence_transformers_model import LoadedModel, Loading
from recbole_darec.errors import EmbeddingError

__all__ = ["encode_in_processes"]

_AHEAD = 2  # batches that wait for each process, so that none of them waits for us


def encode_in_processes(loadings: Sequence[Loading], batches: Batches) -> EncodedBatches:
    """Encode batches in one process for each of ``loadings``; yield them as they are done.

    Raises:
        UserError: a process could not load its model, or died.
    """
    # A forked process can use neither CUDA nor, safely, the threads of this one.
    context = multiprocessing.get_context("spawn")
    mine = context.Queue()
    for loading in loadings:
        mine.put(loading)
    pool = ProcessPoolExecutor(
        len(loadings), mp_context=context, initializer=_take_loading, initargs=(mine,)
    )
    waiting: dict[Future[Encoded], int] = {}
    todo = iter(enumerate(batches))
    try:
        while True:
            while len(waiting) < _AHEAD * len(loadings):
                number, batch = next(todo, (-1, ()))
                if number < 0:
                    break
                waiting[pool.submit(_encode, list(batch))] = number
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool:
        raise EmbeddingError(
            "a worker process died (out of memory?): use fewer --workers or a smaller "
            "--batch-size; what was encoded is kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        mine.close()


_loading: Loading | None = None
_model: LoadedModel | None = None


def _take_loading(mine: Any) -> None:
    """Run in each process at its start."""
    global _loading
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _loading = mine.get()


def _end_with_parent() -> None:
    """End this process when its parent is gone: one that was killed cannot say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _encode(batch: list[str]) -> Encoded:
    """Run in a process; the first call loads, so that its error comes back as it is."""
    global _model
    if _model is None:
        assert _loading is not None
        _model = _loading.load()
    return _model.encode(batch)

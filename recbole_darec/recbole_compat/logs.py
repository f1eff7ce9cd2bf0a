"""RecBole's log file and console."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.utils import init_logger

from recbole_darec.errors import UserError

__all__ = ["log_file", "logging_until_checked", "start_logging", "writing_nothing"]


@contextlib.contextmanager
def logging_until_checked() -> Iterator[logging.handlers.MemoryHandler]:
    """Keep log records in memory while a run's inputs are still being checked.

    Works around: RecBole opens ``log/<model>/…`` before it has read anything, so that a mistyped
    name leaves a file behind.
    """
    root = logging.getLogger()
    memory = logging.handlers.MemoryHandler(100_000, flushLevel=logging.CRITICAL + 1)
    level = root.level
    root.addHandler(memory)
    root.setLevel(logging.INFO)
    try:
        yield memory
    except BaseException:
        root.setLevel(level)
        memory.buffer.clear()
        raise
    finally:
        root.removeHandler(memory)


def start_logging(config: Any, kept: logging.handlers.MemoryHandler) -> None:
    """Open RecBole's log file and console, and write what was kept until now to the file.

    Works around: RecBole's ``init_logger`` does nothing once the root logger has a handler, so that
    the second run of a process writes to the first one's file.

    Raises:
        UserError: the log folder cannot be written.
    """
    root = logging.getLogger()
    for handler in [h for h in root.handlers if getattr(h, "_recbole_darec", False)]:
        root.removeHandler(handler)
        handler.close()
    others = list(root.handlers)
    for handler in others:
        root.removeHandler(handler)
    try:
        init_logger(config)
    except OSError as error:
        raise UserError(
            f"cannot write the log folder '{Path('log').resolve()}': {error.strerror or error}; "
            "start the run in a folder that can be written"
        ) from error
    finally:
        ours = [h for h in root.handlers if h not in others]
        for handler in ours:
            handler._recbole_darec = True  # type: ignore[attr-defined]
        for handler in others:
            root.addHandler(handler)
    root.setLevel(min(handler.level for handler in ours))
    files = [h for h in ours if isinstance(h, logging.FileHandler)]
    for record in kept.buffer:
        for handler in files:
            if record.levelno >= handler.level:
                handler.handle(record)
    kept.buffer.clear()


def log_file() -> str | None:
    """Return the file that this process logs to, None where it has none."""
    handlers = logging.getLogger().handlers
    files = [h.baseFilename for h in handlers if isinstance(h, logging.FileHandler)]
    return files[0] if files else None


@contextlib.contextmanager
def writing_nothing() -> Iterator[None]:
    """Have the trainer that is made here write nothing to TensorBoard and Weights & Biases.

    Works around: RecBole's trainers open them in their constructors, in each of the processes that
    train one model.
    """
    from recbole.trainer import trainer

    names = ("get_tensorboard", "WandbLogger")
    kept = {name: getattr(trainer, name) for name in names}
    for name in names:
        setattr(trainer, name, lambda _: _Nowhere())
    try:
        yield
    finally:
        for name, own in kept.items():
            setattr(trainer, name, own)


class _Nowhere:
    """Takes what is logged, and keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None

"""What is left of a run that has come to its end, or that was interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_darec.data.files import replacing

__all__ = ["keep_under_its_name", "telling_what_is_kept"]


def keep_under_its_name(trainer: Any, name: str | None) -> None:
    """Copy the best model of a resumed run, which began under another name."""
    if name is None:
        return
    wanted = Path(trainer.checkpoint_dir) / name
    if wanted != Path(trainer.saved_model_file):
        if trainer.ranks.is_first:
            with replacing(wanted) as file:
                file.write(Path(trainer.saved_model_file).read_bytes())
        trainer.saved_model_file = str(wanted)


@contextlib.contextmanager
def telling_what_is_kept(trainer: Any) -> Iterator[None]:
    """On Ctrl-C say what was kept and how to go on, then let the interrupt pass."""
    try:
        yield
    except KeyboardInterrupt:
        log = getLogger()
        if trainer.best_epoch >= 0 and Path(trainer.saved_model_file).is_file():
            log.info(f"Interrupted; the best model so far (epoch {trainer.best_epoch}) is in "
                     f"'{trainer.saved_model_file}'")  # fmt: skip
        else:
            log.info("Interrupted before the first checkpoint")
        if trainer.snapshots.file is not None:
            log.info("The same command with --resume goes on with this run")
        raise

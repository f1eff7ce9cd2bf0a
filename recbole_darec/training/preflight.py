"""What a run will write is checked before its first byte: a mistake leaves no file behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from recbole_darec.errors import UserError, first_line

__all__ = ["check_outputs", "require_room", "require_writable", "trainer_fault"]

# RecBole writes these in the folder in which a run is started, whatever the options say.
LOG_FOLDERS = ("log", "log_tensorboard")
_LOG_BYTES = 1 << 20
# The best model, and a snapshot of the model with Adam's two moments.
_COPIES = 4
# The last state of a finished run, with the best model in it, stands beside them for a moment.
_COPIES_OF_LAST = 4


def check_outputs(config: Any, model: Any) -> None:
    """Check that logs and checkpoints of a run can be written; writes nothing.

    Args:
        config: RecBole's configuration.
        model: the model, whose size decides how much room a checkpoint takes.

    Raises:
        UserError: a folder cannot be made or written, or has no room.
    """
    elsewhere = "start the run in a folder with room that can be written"
    for log_folder in map(Path, LOG_FOLDERS):
        require_writable(log_folder, elsewhere)
        require_room(log_folder, _LOG_BYTES, elsewhere)
    folder = Path(config["checkpoint_dir"])
    other = "set checkpoint_dir to a folder with room that can be written"
    require_writable(folder, other)
    tensors = model.state_dict().values()
    size = sum(t.numel() * t.element_size() for t in tensors if hasattr(t, "element_size"))
    copies = _COPIES + (_COPIES_OF_LAST if config["keep_last"] else 0)
    require_room(folder, copies * size, other)


def require_writable(folder: Path, way_out: str) -> None:
    """Raise an error if ``folder`` can be neither written nor made.

    Raises:
        UserError: with the reason and ``way_out``.
    """
    place = _existing(folder)
    if not place.is_dir():
        reason = f"'{place}' is not a folder"
    elif not os.access(place, os.W_OK | os.X_OK):  # False on a read-only mount for root, too
        reason = f"'{place}' is read-only"
    else:
        return
    raise UserError(f"cannot write to the folder '{folder}': {reason}; {way_out}")


def require_room(folder: Path, size: int, way_out: str) -> None:
    """Raise an error if the file system of ``folder`` has less than ``size`` bytes left.

    Raises:
        UserError: with both numbers and ``way_out``.
    """
    usage = shutil.disk_usage(_existing(folder))
    if usage.total and usage.free < size:  # some network file systems answer 0 of 0
        raise UserError(
            f"no room in the folder '{folder}': {usage.free / 1e6:,.1f} MB are free on its disk "
            f"and about {size / 1e6:,.1f} MB are needed; {way_out}"
        )


def _existing(folder: Path) -> Path:
    """Return the folder itself or the nearest one above it that exists."""
    for place in (folder, *folder.absolute().parents):
        if place.exists():
            return place
    return Path("/")


def trainer_fault(error: Exception, config: Any) -> UserError | None:
    """Say in one line what kept RecBole from making a trainer; None where it is no user's fault.

    Args:
        error: what was raised: a folder that cannot be written, or Weights & Biases.
        config: RecBole's configuration.
    """
    if isinstance(error, OSError):
        return UserError(
            f"cannot write to '{error.filename or config['checkpoint_dir']}': "
            f"{error.strerror or error}; set checkpoint_dir to a folder that can be written"
        )
    if type(error).__module__.startswith("wandb."):
        return UserError(
            f"log_wandb: {first_line(error)}; log in with 'wandb login', or set WANDB_MODE to "
            "offline"
        )
    return None

"""Snapshots: everything that a run needs to go on where it was cut off.

A snapshot is taken where an epoch begins.  Everything that an epoch changes is the same function of
it, so that a run killed at any moment and continued comes out as the uninterrupted one.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_darec.errors import CheckpointError
from recbole_darec.training.checkpoint import (
    load_checkpoint,
    load_parameters,
    parameters_of,
    plain,
    remove_unfinished,
    save_checkpoint,
)
from recbole_darec.training.identity import RunIdentity

__all__ = ["Snapshots", "find_snapshot", "read_snapshot"]

_SUFFIX = ".resume"


class Snapshots:
    """The snapshots of one run: when one is due, and which one the run goes on from.

    Args:
        trainer: a ``ResumableTrainer``.
        every: epochs between two snapshots; 0 writes none.

    Attributes:
        file: the snapshot from which the run can go on, None before there is one.
    """

    def __init__(self, trainer: Any, every: int) -> None:
        self.file: Path | None = None
        self._trainer = trainer
        self._every = every
        self._random_state: dict[str, Any] | None = None

    def begin_epoch(self, epoch: int, train_data: Any, *, keep_files: bool) -> None:
        """Restore the random state of a resumed run, or take a snapshot where one is due.

        Raises:
            UserError: the snapshot cannot be written.
        """
        if self._random_state is not None:
            _restore_random_state(self._random_state, train_data)
            self._random_state = None
            return
        due = self._every and epoch and epoch % self._every == 0
        if due and keep_files and _holds_everything(self._trainer, epoch):
            if self.file is None:
                self.file = _new_file(self._trainer)
            save_checkpoint(_state(self._trainer, train_data, epoch), self.file)

    def resume(self, wanted: bool | str) -> bool:
        """Continue the run that ``wanted`` names, or the newest one with these options.

        Args:
            wanted: True, or the path of a snapshot.

        Returns:
            Whether there was a run to continue.

        Raises:
            CheckpointError: the file is damaged or belongs to another run.
        """
        trainer, folder = self._trainer, Path(self._trainer.checkpoint_dir)
        path = find_snapshot(folder, trainer.identity) if wanted is True else Path(str(wanted))
        if path is None:
            trainer.logger.warning(
                f"--resume: no cut-off run with these options in '{folder}'; "
                "starting at the first epoch"
            )
            return False
        content = read_snapshot(path, trainer.identity)
        _restore(trainer, content, path)
        self.file, self._random_state = path, content["random_state"]
        trainer.logger.info(f"Resuming '{path}' at epoch {trainer.start_epoch}")
        return True

    def forget(self) -> None:
        """Remove the snapshot of a run that has come to its end."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.unlink()
            self.file = None


# ---- what is saved ---------------------------------------------------------------------------


def _state(trainer: Any, train_data: Any, next_epoch: int) -> dict[str, Any]:
    """Return the whole state of a run whose next epoch is ``next_epoch``."""
    return {
        **trainer.identity.entries(),
        **trainer.progress(),
        **parameters_of(trainer.model),
        "next_epoch": next_epoch,
        "best_epoch": trainer.best_epoch,
        "saved_model_file": Path(trainer.saved_model_file).name,
        "optimizers": plain({n: o.state_dict() for n, o in _optimizers(trainer).items()}),
        "random_state": _random_state(train_data),
        "train_losses": plain(trainer.train_loss_dict),
    }


def _holds_everything(trainer: Any, next_epoch: int) -> bool:
    """Tell whether a snapshot before ``next_epoch`` has all that the run needs to go on.

    Where RecBole's trainer has E-steps, every ``num_m_step`` epochs, their outcome is in the
    snapshot only if the model keeps something beside its parameters; RecBole's own NCL keeps
    nothing, and can go on only where an E-step makes it anew.
    """
    beside = getattr(trainer.model, "other_parameter_name", ())
    if any(not name.startswith("restore_") for name in beside):
        return True
    return next_epoch % int(getattr(trainer, "num_m_step", 1)) == 0


def _new_file(trainer: Any) -> Path:
    """Return the file of a run's snapshots: that of its model, with the run's fingerprint."""
    stem = Path(trainer.saved_model_file).stem
    return Path(trainer.checkpoint_dir) / f"{stem}.{trainer.identity.fingerprint}{_SUFFIX}"


# ---- what is found and read ------------------------------------------------------------------


def find_snapshot(folder: Path, identity: RunIdentity) -> Path | None:
    """Return the newest snapshot in ``folder`` of a run with these options, or None."""
    found = folder.glob(f"*.{identity.fingerprint}{_SUFFIX}")
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def read_snapshot(path: Path, identity: RunIdentity) -> dict[str, Any]:
    """Read a snapshot of the run with this identity.

    Raises:
        CheckpointError: the file is damaged or belongs to another run.
    """
    content = load_checkpoint(path)
    identity.check(content, path)
    if "next_epoch" not in content:
        raise CheckpointError(
            f"'{path}' is a finished model, not a cut-off run; --resume takes a {_SUFFIX} file"
        )
    if not identity.same_options(content):
        raise CheckpointError(
            f"'{path}' was made with other options than this run's; give the same ones, or "
            "start anew without --resume"
        )
    return content


# ---- what is restored ------------------------------------------------------------------------


def _restore(trainer: Any, content: dict[str, Any], path: Path) -> None:
    """Put a trainer where the snapshot's was, but for its random state.

    That follows when the first epoch begins: numbers may be drawn until then, which the run that
    was cut off drew earlier.

    Raises:
        CheckpointError: the parameters do not fit the model.
    """
    load_parameters(trainer.model, content, path)
    for name, optimizer in _optimizers(trainer).items():
        optimizer.load_state_dict(content["optimizers"][name])
    trainer.start_epoch = content["next_epoch"]
    trainer.cur_step = content["cur_step"]
    trainer.best_valid_score = content["best_valid_score"]
    trainer.best_valid_result = content["best_valid_result"]
    trainer.best_epoch = content["best_epoch"]
    trainer.train_loss_dict = content["train_losses"]
    trainer.saved_model_file = str(path.parent / content["saved_model_file"])
    for file in (path, Path(trainer.saved_model_file)):
        remove_unfinished(file)


def _restore_random_state(state: dict[str, Any], train_data: Any) -> None:
    """Put every generator of random numbers, the loader's too, where a snapshot's was."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    train_data.generator.set_state(state["loader"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def _random_state(train_data: Any) -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = random.getstate()
    state = {
        "python": [version, list(internal), gauss_next],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "torch": torch.get_rng_state(),
        "loader": train_data.generator.get_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _optimizers(trainer: Any) -> dict[str, Any]:
    """Return every optimiser by its attribute's name; RecVAE has two, which take turns."""
    found = {n: o for n, o in vars(trainer).items() if isinstance(o, torch.optim.Optimizer)}
    if len(found) > 1:
        found.pop("optimizer")
    return found

"""Snapshots: from where a run goes on that was cut off, or that is to have more epochs.

A snapshot is taken where an epoch begins, and removed when the run has ended.  Where it is asked
for, the last state of the finished run is kept: the snapshot of the epoch that it does not have.
A run that goes on from either comes out as the one that was neither killed nor finished there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_darec.errors import CheckpointError
from recbole_darec.training.checkpoint import load_checkpoint, remove_unfinished, save_checkpoint
from recbole_darec.training.identity import RunIdentity
from recbole_darec.training.run_state import (
    holds_everything,
    restore,
    restore_random_state,
    state_of,
)

__all__ = ["Length", "Snapshots", "read_snapshot"]

_CUT_OFF = ".resume"
_FINISHED = ".last"


@dataclass(frozen=True)
class Length:
    """How long a run may train.

    Attributes:
        epochs: at most so many.
        eval_step: epochs between two validations; RecBole takes no more than ``epochs``.
        stopping_step: validations without a gain, more of which end it.
    """

    epochs: int
    eval_step: int
    stopping_step: int

    @classmethod
    def of(cls, config: Any, phase: Any = None) -> Length:
        """Read it from RecBole's configuration, and from a phase what this has of its own."""
        epochs, stopping_step = int(config["epochs"]), int(config["stopping_step"])
        if phase is not None:
            epochs = epochs if phase.epochs is None else phase.epochs
            stopping_step = stopping_step if phase.stopping_step is None else phase.stopping_step
        return cls(epochs, min(int(config["eval_step"]), epochs), stopping_step)

    @classmethod
    def of_run(cls, config: Any, model: Any) -> Length:
        """Return how long the last phase of a run may train, which is the run's end."""
        return cls.of(config, *getattr(model, "phases", ())[-1:])

    def why_not(self, content: dict[str, Any]) -> str | None:
        """Say why a finished run cannot go on to this length, None where it can.

        Args:
            content: the last state of the finished run.
        """
        if content["next_epoch"] > self.epochs:
            return (
                f"it has {content['next_epoch']} epochs, and this run is to have {self.epochs}: "
                "give more with --epochs"
            )
        if content["eval_step"] != self.eval_step:
            return (
                f"it was validated every {content['eval_step']} epochs, and this run is every "
                f"{self.eval_step} (eval_step, at most epochs)"
            )
        if content["stopping_step"] > self.stopping_step:
            return (
                f"with stopping_step={self.stopping_step} it may have stopped before its end: give "
                f"{content['stopping_step']} or more"
            )
        return None


class Snapshots:
    """The snapshots of one run: when one is due, and which one the run goes on from.

    Args:
        trainer: a ``ResumableTrainer``.
        length: how long the run may train.
        every: epochs between two snapshots; 0 writes none.
        keep_last: whether the last state of the finished run is kept.

    Attributes:
        file: the snapshot of this unfinished run, None before there is one.
        is_over: whether the run goes on from where there is nothing left to train.
    """

    def __init__(self, trainer: Any, length: Length, *, every: int, keep_last: bool) -> None:
        self.file: Path | None = None
        self.is_over = False
        self._trainer = trainer
        self._length = length
        self._every = every
        self._keep_last = keep_last
        self._random_state: dict[str, Any] | None = None

    # ---- what is saved -----------------------------------------------------------------------

    def begin_epoch(self, epoch: int, train_data: Any, *, keep_files: bool) -> None:
        """Restore the random state of a resumed run, or take a snapshot where one is due.

        Raises:
            UserError: the snapshot cannot be written.
        """
        if self._random_state is not None:
            restore_random_state(self._random_state, train_data)
            self._random_state = None
            return
        due = self._every and epoch and epoch % self._every == 0
        if due and keep_files and holds_everything(self._trainer, epoch):
            self._save(train_data, epoch)

    def begin_phase(self, train_data: Any) -> None:
        """Take a snapshot where a phase after the first begins, in place of the last one's.

        Raises:
            UserError: the snapshot cannot be written.
        """
        if self._every:
            self._save(train_data, 0)

    def _save(self, train_data: Any, epoch: int) -> None:
        if self.file is None:
            self.file = self._named(self._trainer.identity.fingerprint, _CUT_OFF)
        if self._trainer.ranks.is_first:
            save_checkpoint(state_of(self._trainer, train_data, epoch), self.file)

    def end_fit(self, train_data: Any) -> None:
        """Keep the last state, with the best model, where it was asked for.

        Raises:
            UserError: the file cannot be written.
        """
        trainer, length = self._trainer, self._length
        next_epoch = 1 + max(trainer.train_loss_dict, default=-1)
        if not self._keep_last or not next_epoch or not trainer.ranks.is_first:
            return
        if not holds_everything(trainer, next_epoch):
            trainer.logger.warning(
                f"keep_last: the model can go on only where an E-step begins, not after "
                f"{next_epoch} epochs; give a multiple of {trainer.num_m_step}"
            )
            return
        best = load_checkpoint(Path(trainer.saved_model_file)) if trainer.best_epoch >= 0 else None
        content = {
            **state_of(trainer, train_data, next_epoch),
            "eval_step": length.eval_step,
            "stopping_step": length.stopping_step,
            "best": best,
        }
        path = self._named(trainer.identity.fingerprint_of_any_length, _FINISHED)
        save_checkpoint(content, path)
        trainer.logger.info(f"Kept the last state in '{path}': --resume goes on from it with more "
                            "epochs")  # fmt: skip

    def forget(self) -> None:
        """Remove the snapshot of a run that has come to its end."""
        if self.file is not None and self._trainer.ranks.is_first:
            with contextlib.suppress(OSError):
                self.file.unlink()
            self.file = None

    def _named(self, fingerprint: str, suffix: str) -> Path:
        """Return the file of a snapshot: that of the run's model, with a fingerprint."""
        stem = Path(self._trainer.phases.model_file).stem
        return Path(self._trainer.checkpoint_dir) / f"{stem}.{fingerprint}{suffix}"

    # ---- what the run goes on from -----------------------------------------------------------

    def resume(self, wanted: bool | str, *, keep_files: bool = True) -> bool:
        """Go on with the run that ``wanted`` names, or with the newest one that fits these options.

        Args:
            wanted: True, or the path of a snapshot.
            keep_files: whether this run writes files.

        Returns:
            Whether there was a run to go on with.

        Raises:
            CheckpointError: the file is damaged or belongs to another run.
        """
        trainer, own_model_file = self._trainer, self._trainer.phases.model_file
        if wanted is True:
            found = self._find()
        else:
            path = Path(str(wanted))
            found = path, read_snapshot(path, trainer.identity, self._length)
        if found is None:
            trainer.logger.warning(
                f"--resume: no cut-off run with these options in '{trainer.checkpoint_dir}', and "
                "no finished one that kept its last state (--keep_last); starting at the first "
                "epoch"
            )
            return False
        path, content = found
        restore(trainer, content, path)
        if trainer.ranks.is_first:
            for file in (path, Path(trainer.saved_model_file)):
                remove_unfinished(file)
        self._random_state = content["random_state"]
        if _is_finished(content):
            self._go_beyond(content, path, own_model_file, keep_files=keep_files)
        else:
            self.file = path
            trainer.logger.info(f"Resuming '{path}' at epoch {trainer.start_epoch}")
        return True

    def _go_beyond(
        self, content: dict[str, Any], path: Path, own_model_file: str, *, keep_files: bool
    ) -> None:
        """Go on with a finished run under a file of its own, so that the finished one's stays."""
        trainer = self._trainer
        stopped = trainer.cur_step > trainer.stopping_step
        self.is_over = stopped or trainer.start_epoch >= trainer.epochs
        if self.is_over:
            why = (
                f"stopped early after {trainer.start_epoch} epochs, as a longer one would have "
                "(stopping_step)"
                if stopped
                else f"has the {trainer.start_epoch} epochs that it is to have"
            )
            trainer.logger.info(f"The finished run '{path}' {why}: testing its best model again")
        else:
            trainer.phases.take_file(own_model_file)
            trainer.logger.info(
                f"Going on with the finished run '{path}' at epoch {trainer.start_epoch}; its best "
                f"model so far (epoch {trainer.best_epoch}) goes into '{own_model_file}'"
            )
        model_file = Path(trainer.saved_model_file)
        # A name of the user's choosing may be there already, and hold another run's model.
        if (
            keep_files
            and trainer.ranks.is_first
            and content["best"] is not None
            and not (self.is_over and model_file.is_file())
        ):
            save_checkpoint({**content["best"], **trainer.identity.entries()}, model_file)

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest snapshot of this run, or the last state of one that ended earlier."""
        identity = self._trainer.identity
        for path in self._newest_first(identity.fingerprint, _CUT_OFF):
            return path, _read(path, identity)
        for path in self._newest_first(identity.fingerprint_of_any_length, _FINISHED):
            content = _read(path, identity)
            reason = self._length.why_not(content)
            if reason is None:
                return path, content
            self._trainer.logger.warning(f"--resume: not going on with '{path}': {reason}")
        return None

    def _newest_first(self, fingerprint: str, suffix: str) -> Iterator[Path]:
        found = Path(self._trainer.checkpoint_dir).glob(f"*.{fingerprint}{suffix}")
        yield from sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def read_snapshot(path: Path, identity: RunIdentity, length: Length) -> dict[str, Any]:
    """Read the snapshot that a run with this identity and length is to go on from.

    Raises:
        CheckpointError: the file is damaged, belongs to another run, or to a longer one.
    """
    content = _read(path, identity)
    reason = length.why_not(content) if _is_finished(content) else None
    if reason is not None:
        raise CheckpointError(f"cannot go on with the finished run '{path}': {reason}")
    return content


def _read(path: Path, identity: RunIdentity) -> dict[str, Any]:
    content = load_checkpoint(path)
    identity.check(content, path)
    if "next_epoch" not in content:
        raise CheckpointError(
            f"'{path}' is a finished model, not a cut-off run; --resume takes a {_CUT_OFF} file, "
            f"or the {_FINISHED} file of a run with --keep_last"
        )
    if not identity.same_options(content, of_any_length=_is_finished(content)):
        raise CheckpointError(
            f"'{path}' was made with other options than this run's; give the same ones, or "
            "start anew without --resume"
        )
    return content


def _is_finished(content: dict[str, Any]) -> bool:
    return "best" in content

"""The phases of one fit: which one the run is in, and what happens where the next one begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import CheckpointError
from recbole_darec.recbole_compat import init_seed
from recbole_darec.training.blocks import give_back_memory, in_blocks, is_large
from recbole_darec.training.checkpoint import load_checkpoint
from recbole_darec.training.set_aside import set_aside
from recbole_darec.training.snapshots import Length

__all__ = ["Phases", "check_pretrained", "phase_file"]


class Phases:
    """The phases that a model says it has; one for a model that says nothing.

    Each phase but the last keeps its best model in a file of its own beside the run's.

    Args:
        trainer: a ``ResumableTrainer``, whose optimiser is made anew where a phase begins.

    Attributes:
        number: of the phase that the run is in, from 0.
        first_phase: the outcome of the run's first phase, where another run has trained the same;
            the run comes out as if it had trained it, and trains it where the file does not serve.
    """

    def __init__(self, trainer: Any) -> None:
        self.first_phase: Path | None = None
        self._trainer = trainer
        self._phases = tuple(getattr(trainer.model, "phases", ()))
        self.number = 0
        self._model_file = str(trainer.saved_model_file)
        if self._phases:
            self._begin(0, copying=True)

    @property
    def is_last(self) -> bool:
        """Whether no phase follows."""
        return self.number >= len(self._phases) - 1

    @property
    def ranks(self) -> bool:
        """Whether the phase trains what ranks, so that validation judges it."""
        return not self._phases or self._phases[self.number].ranks

    @property
    def model_file(self) -> str:
        """The run's file, which the last phase's best model goes into."""
        return str(self._trainer.saved_model_file) if self.is_last else self._model_file

    def take_file(self, model_file: str) -> None:
        """Have the best model of this phase, and of those to come, go where ``model_file`` says."""
        self._model_file = model_file
        self._trainer.saved_model_file = self._file_of_now()
        self._remember_first()

    def _file_of_now(self) -> str:
        return self._model_file if self.is_last else str(self._file_of(self.number))

    def _file_of(self, number: int) -> Path:
        return phase_file(Path(self._model_file), self._phases[number].name)

    def _remember_first(self) -> None:
        """Give the outcome of the first phase to the diagnostics of a run that goes on."""
        if not self.number or not self._trainer.diagnoses:
            return
        files = (_pretrained_file(self._trainer.model), self.first_phase, self._file_of(0))
        path = next((file for file in files if file is not None and file.is_file()), None)
        if path is not None:
            self._trainer.model.remember_ids(load_checkpoint(path)["state_dict"])

    def enter(self, number: int) -> None:
        """Go on with a phase that has begun; the model's parameters are there already."""
        if self._phases:
            self._begin(number, copying=False)

    def validated(self, validate: Callable[[], tuple[float, Any]]) -> tuple[float, Any]:
        """Return score and metrics of the validation part.

        Where the phase does not train what ranks, they are the last epoch's training loss.

        Args:
            validate: ranks the validation part.
        """
        trainer = self._trainer
        if self.ranks:
            with set_aside(trainer.optimizer, Path(trainer.checkpoint_dir)):
                found = validate()
                trainer.model.forget_tables()
            return found
        loss = float(trainer.train_loss_dict[max(trainer.train_loss_dict)])
        return -loss if trainer.valid_metric_bigger else loss, {"train_loss": loss}

    @property
    def name(self) -> str:
        """The phase's name."""
        return str(self._phases[self.number].name) if self._phases else ""

    def take_pretrained(self, train_data: Any, *, keep_files: bool) -> None:
        """Leave the first phase out of a run that begins, where its outcome is given.

        Raises:
            CheckpointError: the file does not fit the run.
        """
        trainer = self._trainer
        if self.number or trainer.start_epoch:
            return
        state: dict[str, Any] | None = None
        path = _pretrained_file(trainer.model)
        if path is not None:
            state = _read_pretrained(path, trainer.identity, trainer.model)
        elif (path := self.first_phase) is not None:
            state = self._same_phase(path)
        if state is None:
            return
        trainer.model.load_state_dict(state, strict=False)
        trainer.logger.info(f"Phase 1 of {len(self._phases)}: taken from '{path}'")
        trainer.watch.took_first_phase()
        self.begin_next(train_data, keep_files=keep_files)

    def _same_phase(self, path: Path) -> dict[str, Any] | None:
        """Return another run's first phase, None where this run's may differ from it in a bit."""
        trainer = self._trainer
        try:
            state = _read_pretrained(path, trainer.identity, trainer.model)
            alone = load_checkpoint(path)["align"] == "none"
        except CheckpointError as error:
            trainer.logger.warning(f"{error}; the phase is trained here")
            return None
        # The backbone alone sums a table's gradient in another way than experts do, which is the
        # same way on a CPU, over the table at once.
        if alone and (trainer.device.type != "cpu" or trainer.model.sparse_gradients):
            trainer.logger.info(f"'{path}' may differ in the last digit; the phase is trained here")
            return None
        return state

    def forget_moments(self) -> None:
        """Free what the optimiser keeps, twice what it has trained: its training is over."""
        self._trainer.optimizer.state.clear()
        give_back_memory()

    def begin_next(self, train_data: Any, *, keep_files: bool) -> None:
        """Begin the next phase from the best model of this one.

        Raises:
            UserError: a file cannot be read or written.
        """
        trainer = self._trainer
        self.forget_moments()
        if keep_files and trainer.best_epoch >= 0:
            trainer.load(Path(trainer.saved_model_file))
        if self.number == 0 and trainer.diagnoses:
            trainer.model.remember_ids(trainer.model.state_dict())
        self._begin(self.number + 1, copying=True)
        trainer.start_epoch, trainer.cur_step, trainer.best_epoch = 0, 0, -1
        trainer.best_valid_score = -np.inf if trainer.valid_metric_bigger else np.inf
        trainer.best_valid_result = None
        trainer.train_loss_dict = {}
        # What a phase draws does not depend on how many epochs the one before it had.
        config = trainer.config
        seed = (int(config["seed"]) * 1_000_003 + self.number) % 2**32
        init_seed(seed, config["reproducibility"])
        train_data.generator.manual_seed(seed)
        if keep_files:
            trainer.snapshots.begin_phase(train_data)

    def _begin(self, number: int, *, copying: bool) -> None:
        trainer, self.number = self._trainer, number
        trainer.model.enter_phase(number, copying=copying)
        trainer.saved_model_file = self._file_of_now()
        phase, config = self._phases[number], trainer.config
        own = {"learning_rate": phase.learning_rate, "weight_decay": phase.weight_decay}
        given = {name: value for name, value in own.items() if value is not None}
        tables = self._tables_in_blocks()
        trainer.model.sparse_gradients = bool(tables) and config["loss_type"] != "CE"
        trainer.optimizer = in_blocks(
            lambda groups: trainer._build_optimizer(params=groups, **given),
            trainer.model.optimised(),
            tables,
        )
        if tables:
            give_back_memory()  # of what the phase before had, or the making of data and model
        length = Length.of(config, phase)
        trainer.epochs, trainer.eval_step = length.epochs, length.eval_step
        trainer.stopping_step = length.stopping_step
        if len(self._phases) > 1:
            trainer.logger.info(f"Phase {number + 1} of {len(self._phases)}: {phase.name}")

    def _tables_in_blocks(self) -> list[Any]:
        """Return the tables that are too large to be stepped at once, where all are."""
        trainer = self._trainer
        tables = trainer.model.trained_tables()
        if trainer.clip_grad_norm or not all(map(is_large, tables)):
            return []
        return list(tables)


def phase_file(model_file: Path, phase: str) -> Path:
    """Return the file of a phase before the last, by the run's file and the phase's name."""
    return model_file.with_name(f"{model_file.stem}.{phase}{model_file.suffix}")


def _pretrained_file(model: Any) -> Path | None:
    """Return the file that a run is to take its first phase from, if it names one."""
    given = getattr(model.aligner.options, "pretrained", None)
    return None if given is None else Path(given)


def check_pretrained(identity: Any, model: Any) -> None:
    """Refuse a file that the run cannot take its first phase from; nothing where it names none.

    Raises:
        CheckpointError: as :meth:`Phases.take_pretrained`.
    """
    path = _pretrained_file(model)
    if path is not None:
        _read_pretrained(path, identity, model)


def _read_pretrained(path: Path, identity: Any, model: Any) -> dict[str, Any]:
    """Return the backbone's own tensors out of another run's file.

    Args:
        path: the best model of a ``pretrain`` phase, or of the backbone with ``align=none``.
        identity: of this run.
        model: whose tensors they are to be.

    Raises:
        CheckpointError: it is of another backbone, width or data set, or of another phase.
    """
    content = load_checkpoint(path)
    phases = getattr(model, "phases", None)
    if not phases or not phases[0].plain:
        raise CheckpointError(
            f"pretrained='{path}': this run has no phase that it could stand for; set "
            "expert_init=pretrained"
        )
    for key, here in (("model", identity.model), ("data", identity.data)):
        if content[key] != here:
            raise CheckpointError(
                f"pretrained='{path}' is of another {'backbone' if key == 'model' else 'data set'} "
                "than this run's; take one of the same"
            )
    if content["align"] != "none" and content.get("phase") != phases[0].name:
        raise CheckpointError(
            f"pretrained='{path}' is no first phase: take a file that ends in "
            f".{phases[0].name}.pth, or one of a run with --align=none"
        )
    own = {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith(("experts.", "alignment.")) and name != "phase_number"
    }
    state = content["state_dict"]
    for name, value in own.items():
        if name not in state or state[name].shape != value.shape:
            raise CheckpointError(
                f"pretrained='{path}' does not fit this model: '{name}' is of another shape there; "
                "use the widths that it was trained with"
            )
    return {name: state[name] for name in own}

"""One fit: RecBole's trainer with named losses, safe checkpoints, and runs that can be continued.

A fit is a sequence of phases, each a loop over epochs: that of the trainer that RecBole has for the
backbone.  An epoch begins and ends the same in all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole.trainer import NCLTrainer, Trainer
from recbole.utils import set_color
from tqdm import tqdm

from recbole_darec.evaluation.shared import SharedCollector, evaluated_by
from recbole_darec.recbole_compat.logs import writing_nothing
from recbole_darec.recbole_compat.metrics import MetricEvaluator
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions
from recbole_darec.training.checkpoint import (
    checkpoint_name,
    load_checkpoint,
    load_parameters,
    parameters_of,
    plain,
    save_checkpoint,
)
from recbole_darec.training.epoch import train_epoch
from recbole_darec.training.fused import FusesAdam
from recbole_darec.training.identity import RunIdentity
from recbole_darec.training.in_blocks import RanksInBlocks
from recbole_darec.training.logged import LoggedTrainer
from recbole_darec.training.losses import refuse_not_finite, without_last_part
from recbole_darec.training.parallel import current_ranks
from recbole_darec.training.phases import Phases
from recbole_darec.training.preflight import trainer_fault
from recbole_darec.training.replay import StepReplay, replay_of
from recbole_darec.training.run_state import check_draws, kept_beside_parameters
from recbole_darec.training.snapshots import Length, Snapshots
from recbole_darec.training.watch import Watch

if TYPE_CHECKING:
    from recbole.trainer import Trainer as _Trainer
else:
    _Trainer = object  # RecBole's trainer stands beside the mixin in a class's bases

__all__ = ["ResumableTrainer", "trainer_class"]


class ResumableTrainer(LoggedTrainer, _Trainer):
    """Mixin over a RecBole trainer.

    Args:
        config: RecBole's configuration.
        model: the model.
        identity: which run it is; its checkpoints say so.

    Attributes:
        best_epoch: the epoch with the best validation, -1 before there is one.
        snapshots: from which the run can go on.
        watch: who looks on.
        ranks: the processes that train the model together; this one may be alone.
    """

    def __init__(self, config: Any, model: Any, identity: RunIdentity) -> None:
        self.ranks = current_ranks()
        try:
            with contextlib.nullcontext() if self.ranks.is_first else writing_nothing():
                super().__init__(config, model)  # type: ignore[call-arg]
        except Exception as error:
            if (told := trainer_fault(error, config)) is None:
                raise
            raise told from error
        # RecBole's trainer of models without epochs makes one of them after it has read eval_step.
        self.eval_step = min(int(config["eval_step"]), self.epochs)
        self.identity = identity
        options = options_from_config(RunOptions, config)
        made = checkpoint_name(identity.model, identity.align, identity.dataset)
        name = self.ranks.text_of_first(options.checkpoint_name or made)
        self.saved_model_file = str(Path(self.checkpoint_dir) / name)
        self.best_epoch, self._keep_files = -1, True
        every, keep_last = options.snapshot_every, options.keep_last
        length = Length.of_run(config, model)
        self.snapshots = Snapshots(self, length, every=every, keep_last=keep_last)
        self.diagnoses = options.diagnostics
        self.phases = Phases(self)
        self.watch = Watch()
        self._replay: StepReplay | None = None
        self._latest_valid_result: Any = None
        self.eval_collector = SharedCollector(config)
        self.evaluator = MetricEvaluator(config)

    # ---- the whole run ---------------------------------------------------------------------

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], Any] | None = None,
    ) -> Any:
        """Train as RecBole does; see its ``Trainer.fit``.

        A run that is interrupted (Ctrl-C) keeps its best checkpoint and its snapshot.
        """
        self._keep_files = bool(saved)
        if self.snapshots.is_over:
            # RecBole's loop would take the last model for the best.
            self.eval_collector.data_collect(train_data)
            return self.best_valid_score, self.best_valid_result
        given = {"verbose": verbose, "saved": saved, "show_progress": show_progress}
        try:
            result = self._fit_phases(train_data, valid_data, callback_fn, given)
            if saved:
                self.snapshots.end_fit(train_data)
            return result
        finally:
            self.tensorboard.flush()

    def _fit_phases(
        self,
        train_data: Any,
        valid_data: Any,
        callback_fn: Callable[[int, float], Any] | None,
        given: dict[str, bool],
    ) -> Any:
        """Train the phases from the one that the run is in; returns what the last one does."""
        self.phases.take_pretrained(train_data, keep_files=self._keep_files)
        while True:
            result = self._fit_phase(train_data, valid_data, callback_fn, given)
            if self.phases.is_last:
                return result
            self.phases.begin_next(train_data, keep_files=self._keep_files)

    def _fit_phase(
        self,
        train_data: Any,
        valid_data: Any,
        callback_fn: Callable[[int, float], Any] | None,
        given: dict[str, bool],
    ) -> Any:
        """Train the epochs from ``start_epoch`` to ``epochs``, or until validation gains no more.

        Returns:
            the best validation score and its metrics.
        """

        def after_validation(epoch_idx: int, valid_score: float) -> None:
            if self.cur_step == 0:  # RecBole counts from the best epoch, and keeps no note of it
                self.best_epoch = epoch_idx
            if self.phases.ranks:
                self.watch.validated(epoch_idx, float(valid_score), self.phases.number)
            if callback_fn is not None:
                callback_fn(epoch_idx, valid_score)

        return super().fit(  # type: ignore[misc]
            train_data, valid_data, callback_fn=after_validation, **given
        )

    # ---- one epoch -------------------------------------------------------------------------

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        """Train one epoch; returns the sums of the loss parts, the aligner's first."""
        self.snapshots.begin_epoch(epoch_idx, train_data, keep_files=self._keep_files)
        if self.diagnoses:
            self.model.diagnose_next = True
        loss_of = loss_func or self.model.calculate_loss
        stock = super()._train_epoch  # type: ignore[misc]
        kind = getattr(stock, "__func__", None)
        if kind is NCLTrainer._train_epoch:
            if epoch_idx < self.config["warm_up_step"]:
                loss_of = without_last_part(loss_of)
        elif kind is not Trainer._train_epoch:
            # A trainer with an epoch of its own keeps it.
            return stock(train_data, epoch_idx, loss_func, show_progress)
        if self.ranks.size > 1:
            self.ranks.take_first(kept_beside_parameters(self.model))
        self.model.train()
        self._replay = self._replay or replay_of(self)
        batches = train_data
        if show_progress:
            bar = {"total": len(train_data), "ncols": 100, "leave": False}
            batches = tqdm(train_data, desc=set_color(f"Train {epoch_idx:>5}", "pink"), **bar)
        steps = train_epoch(
            batches,
            loss_of,
            self.model,
            self.optimizer,
            device=self.device,
            mixed_precision=self.enable_amp,
            scaled=self.enable_scaler,
            clip=self.clip_grad_norm,
            ranks=self.ranks,
            replay=self._replay,
        )
        check_draws(self.ranks, train_data)
        refuse_not_finite(steps, self.model, epoch_idx)
        return tuple(steps.sum(0).tolist())

    # ---- the best model --------------------------------------------------------------------

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        stock = super()._valid_epoch  # type: ignore[misc]
        score, result = self.phases.validated(lambda: stock(valid_data, show_progress))
        self._latest_valid_result = dict(result)
        return score, result

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: Any = None,
        show_progress: bool = False,
    ) -> Any:
        """Evaluate as RecBole does; the best model is read from a checkpoint of ours.

        Raises:
            CheckpointError: the checkpoint is damaged or does not fit the model.
        """
        if load_best_model:
            path = Path(model_file or self.saved_model_file)
            self.load(path)
            self.logger.info(f"Loading model structure and parameters from {path}")
        with evaluated_by(self.ranks, eval_data, self.eval_collector):
            return super().evaluate(  # type: ignore[misc]
                eval_data, load_best_model=False, show_progress=show_progress
            )

    def load(self, path: Path) -> None:
        """Put a checkpoint into the model, once the first process has written it.

        Raises:
            CheckpointError: it is damaged or does not fit the model.
        """
        self.ranks.wait()
        load_parameters(self.model, load_checkpoint(path, self.device), path)

    def tune_ranking(self, valid_data: Any, *, saved: bool) -> None:
        """Let an aligner that alters scores find, on the validation part, what it ranks with.

        The training is over, and the best model is the one that is tuned and kept.  Nothing is done
        for any other aligner.

        Args:
            valid_data: the validation loader.
            saved: whether the best model is in a checkpoint.
        """
        if not self.model.tunes_ranking:
            return
        if saved and self.best_epoch >= 0:
            self.load(Path(self.saved_model_file))
        sign = 1.0 if self.valid_metric_bigger else -1.0
        self.model.tune_scores(lambda: sign * self._valid_epoch(valid_data)[0])
        self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data)
        if saved and self.best_epoch >= 0:
            self._save_checkpoint(self.best_epoch, verbose=False)

    def progress(self) -> dict[str, Any]:
        """Return how far the run is, as its files say it."""
        return {
            "cur_step": int(self.cur_step),
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": plain(self.best_valid_result),
        }

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        path = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        progress = self.progress()
        if self._latest_valid_result is not None:
            # RecBole saves before it notes the result that made this epoch the best.
            progress["best_valid_result"] = plain(self._latest_valid_result)
        phase = {"phase": self.phases.name} if self.phases.name else {}
        content = {**self.identity.entries(), "epoch": epoch, **progress, **phase}
        if self.ranks.is_first:
            save_checkpoint({**content, **parameters_of(self.model)}, path)
        self.best_epoch = epoch
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def save_pretrained_model(self, epoch: int, saved_model_file: Any) -> None:
        """Keep the model of a pre-training stage (RaCT) in a checkpoint of ours."""
        self.saved_model_file = str(saved_model_file)
        self._save_checkpoint(epoch, verbose=False)

    def resume_checkpoint(self, resume_file: Any) -> None:
        """RecBole's name for ``snapshots.resume`` with a path."""
        self.snapshots.resume(str(resume_file))


def trainer_class(base: type) -> Any:
    """Return RecBole's trainer ``base`` with :class:`ResumableTrainer` over it."""
    return type(f"Resumable{base.__name__}", (ResumableTrainer, RanksInBlocks, FusesAdam, base), {})

"""RecBole's trainer with named losses, safe checkpoints, and runs that can be continued."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from recbole.trainer import Trainer
from recbole.utils import set_color
from torch.nn.utils.clip_grad import clip_grad_norm_
from tqdm import tqdm

from recbole_darec.errors import CheckpointError, UserError
from recbole_darec.recbole_compat.metrics import MetricCollector, MetricEvaluator
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions
from recbole_darec.training.checkpoint import (
    checkpoint_name,
    from_plain,
    load_checkpoint,
    plain,
    remove_unfinished,
    save_checkpoint,
    settings_fingerprint,
)

if TYPE_CHECKING:
    from recbole.trainer import Trainer as _Trainer
else:
    _Trainer = object  # RecBole's trainer stands beside the mixin in a class's bases

__all__ = ["ResumableTrainer", "find_resumable", "read_snapshot", "trainer_class"]

_RESUME_SUFFIX = ".resume"


class ResumableTrainer(_Trainer):
    """Mixin over a RecBole trainer.

    Args:
        config: RecBole's configuration.
        model: the model.
        settings: the run's settings as plain values; kept in the checkpoint, from which a later
            process makes the same model.
        data: what identifies the data set (:func:`checkpoint.data_fingerprint`).
        own_class: name of the class that the caller gave instead of a registered name, or None.
    """

    def __init__(
        self,
        config: Any,
        model: Any,
        settings: dict[str, Any],
        data: dict[str, Any],
        own_class: str | None = None,
    ) -> None:
        try:
            super().__init__(config, model)  # type: ignore[call-arg]
        except OSError as error:
            raise UserError(
                f"cannot write to '{error.filename or config['checkpoint_dir']}': "
                f"{error.strerror or error}; set checkpoint_dir to a folder that can be written"
            ) from error
        self.run_settings = settings
        self.run_data = data
        self.own_class = own_class
        options = options_from_config(RunOptions, config)
        folder = Path(self.checkpoint_dir)
        name = checkpoint_name(config["model"], options.align, config["dataset"])
        self.saved_model_file = str(folder / name)
        self.snapshot_every = options.snapshot_every
        self.resume_file: Path | None = None
        self._random_state_to_restore: dict[str, Any] | None = None
        self._keep_files = True
        self.best_epoch = -1
        self.diagnoses = options.diagnostics
        self._latest_valid_result: Any = None
        self.eval_collector = MetricCollector(config)
        self.evaluator = MetricEvaluator(config)

    # ---- one epoch -------------------------------------------------------------------------

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        """Train one epoch; returns the sums of the loss parts, the aligner's first."""
        self._before_epoch(train_data, epoch_idx)
        if self.diagnoses:
            self.model.diagnose_next = True
        stock = super()._train_epoch  # type: ignore[misc]
        if getattr(stock, "__func__", None) is not Trainer._train_epoch:
            # A model with a training loop of its own, such as NCL, keeps it.
            return stock(train_data, epoch_idx, loss_func, show_progress)
        return self._fast_epoch(train_data, epoch_idx, loss_func, show_progress)

    def _fast_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any, show_progress: bool
    ) -> tuple[float, ...]:
        """RecBole's loop without a wait for the device in each step."""
        self.model.train()
        loss_func = loss_func or self.model.calculate_loss
        scaler = _grad_scaler(self.device, self.enable_scaler)
        batches = train_data
        if show_progress:
            batches = tqdm(
                train_data,
                total=len(train_data),
                ncols=100,
                leave=False,
                desc=set_color(f"Train {epoch_idx:>5}", "pink"),
            )
        steps: list[torch.Tensor] = []
        for interaction in batches:
            interaction = interaction.to(self.device)
            self.optimizer.zero_grad()
            with torch.autocast(device_type=self.device.type, enabled=self.enable_amp):
                losses = loss_func(interaction)
            parts = losses if isinstance(losses, tuple) else (losses,)
            loss = torch.stack([part.float().reshape(()) for part in parts])
            scaler.scale(loss.sum()).backward()
            if self.clip_grad_norm:
                scaler.unscale_(self.optimizer)
                clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            scaler.step(self.optimizer)
            scaler.update()
            steps.append(loss.detach())
        values = torch.stack(steps).double().cpu()
        self._refuse_nan(values, epoch_idx)
        return tuple(values.sum(0).tolist())

    def _refuse_nan(self, values: torch.Tensor, epoch_idx: int) -> None:
        """Name the parts ``values[step, part]`` that were the first not to be finite."""
        bad = ~values.isfinite()
        if bool(bad.any()):
            first = int(bad.any(1).nonzero()[0])
            names = self._part_names(values.shape[1])
            parts = ", ".join(name for name, is_bad in zip(names, bad[first].tolist()) if is_bad)
            raise UserError(
                f"the training loss is not finite in epoch {epoch_idx} ({parts}): lower "
                "learning_rate or the weights of the loss"
            )

    def _check_nan(self, loss: torch.Tensor) -> None:
        # Asked by those of RecBole's trainers that have a training loop of their own.
        if torch.isnan(loss):
            raise UserError(
                "the training loss is not a number: lower learning_rate or the weights of the loss"
            )

    def _part_names(self, count: int) -> tuple[str, ...]:
        names = tuple(getattr(self.model, "loss_names", ()))
        # NCL's trainer leaves out the last part while it warms up.
        return names[:count] if len(names) >= count else tuple(f"loss{n + 1}" for n in range(count))

    def _named(self, losses: Any) -> dict[str, float]:
        """Return the losses by name, the backbone's first."""
        sums = losses if isinstance(losses, tuple) else (losses,)
        named = dict(zip(self._part_names(len(sums)), sums))
        return dict(sorted(named.items(), key=lambda pair: not pair[0].startswith("base")))

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: Any
    ) -> str:
        digits = self.config["loss_decimal_place"] or 4
        parts = [f"{set_color('time', 'blue')}: {e_time - s_time:.2f}s"]
        parts += [
            f"{set_color(name, 'blue')}: {value:.{digits}f}"
            for name, value in self._named(losses).items()
        ]
        return f"{set_color(f'epoch {epoch_idx} training', 'green')} [{', '.join(parts)}]"

    def _add_train_loss_to_tensorboard(
        self, epoch_idx: int, losses: Any, tag: str = "Loss/Train"
    ) -> None:
        named = self._named(losses)
        self.tensorboard.add_scalar(tag, sum(named.values()), epoch_idx)
        for name, value in named.items():
            self.tensorboard.add_scalar(f"{tag}/{name}", value, epoch_idx)
        found = getattr(self.model, "diagnostics", {}) if self.diagnoses else {}
        if found:
            text = ", ".join(f"{name}: {value:.4g}" for name, value in found.items())
            self.logger.info(f"{set_color(f'epoch {epoch_idx} diagnostics', 'green')} [{text}]")
        for name, value in found.items():
            self.tensorboard.add_scalar(f"Diagnostics/{name}", value, epoch_idx)

    # ---- the whole run ---------------------------------------------------------------------

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as RecBole does; see its ``Trainer.fit``.

        A run that is interrupted (Ctrl-C) keeps its best checkpoint and its snapshot.
        """
        given = dict(zip(("verbose", "saved", "show_progress", "callback_fn"), args), **kwargs)
        self._keep_files = bool(given.get("saved", True))
        wanted = given.pop("callback_fn", None)

        def after_validation(epoch_idx: int, valid_score: float) -> None:
            if self.cur_step == 0:  # RecBole counts from the best epoch, and keeps no note of it
                self.best_epoch = epoch_idx
            if wanted is not None:
                wanted(epoch_idx, valid_score)

        try:
            return super().fit(  # type: ignore[misc]
                train_data, valid_data, callback_fn=after_validation, **given
            )
        finally:
            self.tensorboard.flush()

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        score, result = super()._valid_epoch(valid_data, show_progress)  # type: ignore[misc]
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
            load_parameters(self.model, load_checkpoint(path, self.device), path)
            self.logger.info(f"Loading model structure and parameters from {path}")
        return super().evaluate(  # type: ignore[misc]
            eval_data, load_best_model=False, show_progress=show_progress
        )

    def save_pretrained_model(self, epoch: int, saved_model_file: Any) -> None:
        """Keep the model of a pre-training stage (RaCT) in a checkpoint of ours."""
        self.saved_model_file = str(saved_model_file)
        self._save_checkpoint(epoch, verbose=False)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        path = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        progress = self._progress()
        if self._latest_valid_result is not None:
            # RecBole saves before it notes the result that made this epoch the best.
            progress["best_valid_result"] = plain(self._latest_valid_result)
        content = {**self._identity(), "epoch": epoch, **progress, **self._parameters()}
        save_checkpoint(content, path)
        self.best_epoch = epoch
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def _identity(self) -> dict[str, Any]:
        return {
            "model": self.config["model"],
            "align": str(self.config["align"]),
            "own_class": self.own_class,
            "settings": plain(self.run_settings),
            "data": self.run_data,
        }

    def _progress(self) -> dict[str, Any]:
        return {
            "cur_step": int(self.cur_step),
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": plain(self.best_valid_result),
        }

    def _parameters(self) -> dict[str, Any]:
        return {
            "state_dict": plain(self.model.state_dict()),
            "other_parameter": _other_parameter(self.model),
        }

    # ---- continue a run --------------------------------------------------------------------

    def _before_epoch(self, train_data: Any, epoch_idx: int) -> None:
        """Restore the random state of a resumed run, or write a snapshot.

        The snapshot is taken where an epoch begins: everything that an epoch changes is the same
        function of it, so that a run killed at any moment comes out as the uninterrupted one.
        """
        if self._random_state_to_restore is not None:
            _restore_random_state(self._random_state_to_restore, train_data)
            self._random_state_to_restore = None
            return
        due = self.snapshot_every and epoch_idx and epoch_idx % self.snapshot_every == 0
        if "user_2cluster" not in getattr(self.model, "other_parameter_name", ()):
            # RecBole's NCL keeps its clusters out of checkpoints, and ours does not: a run of the
            # former goes on where an E-step makes them anew.
            due = due and epoch_idx % getattr(self, "num_m_step", 1) == 0
        if due and self._keep_files:
            if self.resume_file is None:
                self.resume_file = self._new_resume_file()
            content = {
                **self._identity(),
                **self._progress(),
                **self._parameters(),
                "next_epoch": epoch_idx,
                "best_epoch": self.best_epoch,
                "saved_model_file": Path(self.saved_model_file).name,
                "optimizers": plain({n: o.state_dict() for n, o in self._optimizers().items()}),
                "random_state": _random_state(train_data),
                "train_losses": plain(self.train_loss_dict),
            }
            save_checkpoint(content, self.resume_file)

    def _optimizers(self) -> dict[str, Any]:
        """Every optimiser by its attribute's name; RecVAE has two, which take turns."""
        found = {n: o for n, o in vars(self).items() if isinstance(o, torch.optim.Optimizer)}
        if len(found) > 1:
            found.pop("optimizer")
        return found

    def _fingerprint(self) -> str:
        return settings_fingerprint(
            self.own_class or self.config["model"], self.config["dataset"], self.run_settings
        )

    def _new_resume_file(self) -> Path:
        stem = Path(self.saved_model_file).stem
        return Path(self.checkpoint_dir) / f"{stem}.{self._fingerprint()}{_RESUME_SUFFIX}"

    def forget_snapshot(self) -> None:
        """Remove the snapshot of a run that has come to its end."""
        if self.resume_file is not None:
            with contextlib.suppress(OSError):
                self.resume_file.unlink()
            self.resume_file = None

    def resume(self, wanted: Any) -> bool:
        """Continue the run that ``wanted`` names, or the newest one with these options.

        Args:
            wanted: True, or the path of a ``.resume`` file.

        Returns:
            Whether there was a run to continue.

        Raises:
            CheckpointError: the file is damaged or belongs to another run.
        """
        path = (
            find_resumable(Path(self.checkpoint_dir), self._fingerprint())
            if wanted is True
            else Path(str(wanted))
        )
        if path is None:
            self.logger.warning(
                f"--resume: no cut-off run with these options in '{self.checkpoint_dir}'; "
                "starting at the first epoch"
            )
            return False
        content = read_snapshot(path, self.config, self.run_data, self._fingerprint())
        load_parameters(self.model, content, path)
        for name, optimizer in self._optimizers().items():
            optimizer.load_state_dict(_with_int_keys(content["optimizers"][name]))
        self.start_epoch = content["next_epoch"]
        self.cur_step = content["cur_step"]
        self.best_valid_score = content["best_valid_score"]
        self.best_valid_result = content["best_valid_result"]
        self.best_epoch = content["best_epoch"]
        self.train_loss_dict = content["train_losses"]
        self.saved_model_file = str(path.parent / content["saved_model_file"])
        self.resume_file = path
        self._random_state_to_restore = content["random_state"]
        for file in (path, Path(self.saved_model_file)):
            remove_unfinished(file)
        self.logger.info(f"Resuming '{path}' at epoch {self.start_epoch}")
        return True

    def resume_checkpoint(self, resume_file: Any) -> None:
        """RecBole's name for :meth:`resume` with a path."""
        self.resume(str(resume_file))


def trainer_class(base: type) -> Any:
    """Return RecBole's trainer ``base`` with :class:`ResumableTrainer` over it."""
    return type(f"Resumable{base.__name__}", (ResumableTrainer, base), {})


def find_resumable(folder: Path, fingerprint: str) -> Path | None:
    """Return the newest snapshot in ``folder`` of a run with this fingerprint, or None."""
    found = sorted(
        folder.glob(f"*.{fingerprint}{_RESUME_SUFFIX}"), key=lambda p: p.stat().st_mtime_ns
    )
    return found[-1] if found else None


def read_snapshot(
    path: Path, config: Any, data: dict[str, Any], fingerprint: str
) -> dict[str, Any]:
    """Read a ``.resume`` file for the run with this configuration, data and fingerprint.

    Raises:
        CheckpointError: the file is damaged or belongs to another run.
    """
    content = load_checkpoint(path)
    check_identity(content, config, data, path)
    if "next_epoch" not in content:
        raise CheckpointError(
            f"'{path}' is a finished model, not a cut-off run; --resume takes a "
            f"{_RESUME_SUFFIX} file"
        )
    stored = settings_fingerprint(
        content["own_class"] or content["model"], config["dataset"], content["settings"]
    )
    if stored != fingerprint:
        raise CheckpointError(
            f"'{path}' was made with other options than this run's; give the same ones, or "
            "start anew without --resume"
        )
    return content


def check_identity(content: dict[str, Any], config: Any, data: dict[str, Any], path: Path) -> None:
    """Raise an error where a checkpoint belongs to another model or data set.

    Raises:
        CheckpointError: it does.
    """
    for key, here in (("model", config["model"]), ("align", str(config["align"]))):
        if content[key] != here:
            raise CheckpointError(
                f"checkpoint '{path}' holds {key} '{content[key]}', and this run's is '{here}'"
            )
    if content["data"] != data:
        there = content["data"]
        raise CheckpointError(
            f"checkpoint '{path}' was trained on {_described(there)}, and this run reads "
            f"{_described(data)}, or others of them; give it the data that it was trained on"
        )


def _described(data: dict[str, Any]) -> str:
    counts = [f"{data.get(name, '?')} {name}" for name in ("users", "items", "interactions")]
    return f"{data.get('dataset')} with {', '.join(counts)}"


def load_parameters(model: Any, content: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's parameters into ``model``.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise CheckpointError(
            f"checkpoint '{path}' does not fit this model: {' '.join(lines[1:2] or lines)[:160]}; "
            "use the options that it was trained with"
        ) from None
    model.load_other_parameter(from_plain(content["other_parameter"]))


def _other_parameter(model: Any) -> dict[str, Any]:
    # Scores kept for the next evaluation are a function of the parameters: computed anew.
    return {
        name: None if name.startswith("restore_") else plain(value)
        for name, value in model.other_parameter().items()
    }


def _with_int_keys(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "state": {int(k): v for k, v in state["state"].items()}}


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


def _restore_random_state(state: dict[str, Any], train_data: Any) -> None:
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    train_data.generator.set_state(state["loader"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def _grad_scaler(device: torch.device, enabled: bool) -> Any:
    if hasattr(torch, "amp") and hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device.type, enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


@contextlib.contextmanager
def keeping_best(trainer: Any) -> Iterator[None]:
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
        if trainer.resume_file is not None:
            log.info("The same command with --resume goes on with this run")
        raise

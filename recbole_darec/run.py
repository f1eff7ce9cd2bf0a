"""One run, told as a story: settings, data, embeddings, model, training, evaluation, result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch

from recbole_darec import recbole_compat as compat
from recbole_darec.aligned.classes import aligned_class
from recbole_darec.backbones.registry import backbone_class
from recbole_darec.data.files import replacing
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.by_frequency import check_buckets, evaluate_by_frequency
from recbole_darec.resolve import resolve
from recbole_darec.run_data import general_data, sequential_data
from recbole_darec.settings.run_settings import Settings
from recbole_darec.training.identity import RunIdentity, data_fingerprint
from recbole_darec.training.phases import check_pretrained
from recbole_darec.training.preflight import check_outputs
from recbole_darec.training.snapshots import Length, read_snapshot
from recbole_darec.training.trained import take_trained
from recbole_darec.training.trainer import trainer_class
from recbole_darec.training.watch import Watch, tested

__all__ = [
    "Prepared",
    "make_data_and_model",
    "make_trainer",
    "objective_function",
    "prepare",
    "run_recbole_darec",
    "train",
]


@dataclass(frozen=True)
class Prepared:
    """Everything that a run needs before its first training step, checked."""

    settings: Settings
    config: Any
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any
    identity: RunIdentity


def run_recbole_darec(
    model: Any = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    queue: Any = None,
    *,
    command_line: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train and test one model; the counterpart of RecBole's ``run_recbole``.

    Unlike RecBole's, this function does not read ``sys.argv``: a script that wants its own command
    line to count passes the parsed options as ``command_line``.

    Args:
        model: name of the backbone, or a recommender class (one made with ``DaRecMixin`` too).
        dataset: name of the data set.
        config_file_list: property files of the user, later ones win.
        config_dict: options from code; they win over the files.
        saved: whether to write checkpoints. The best model is tested either way only if saved;
            otherwise the last one is, as in RecBole.
        queue: a multiprocessing queue that gets the result too.
        command_line: options that win over all others.

    Returns:
        ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``, ``test_result`` as in
        RecBole (metrics unrounded), and ``best_epoch``, ``model_file``; with ``result_buckets``
        ``test_by_frequency``, what ``evaluate_by_frequency`` returns.

    Raises:
        UserError: an option, a file or a checkpoint is at fault; the message says which.
    """
    settings = resolve(model, dataset, config_file_list, config_dict, command_line)
    result = train(settings, saved=saved)
    if queue is not None:
        queue.put(result)
    return result


def objective_function(
    config_dict: Mapping[str, Any] | None = None,
    config_file_list: Sequence[str] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """Train and test one trial; what RecBole's ``HyperTuning`` calls.

    Args:
        config_dict: the trial's parameters.
        config_file_list: the fixed property files.
        saved: whether to write checkpoints.

    Returns:
        ``model``, ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, as RecBole's function of this name.
    """
    settings = resolve(None, None, config_file_list, config_dict, None)
    result = train(settings, saved=saved, verbose=False)
    return {"model": settings.model, **result}


def train(
    settings: Settings,
    *,
    saved: bool = True,
    verbose: bool = True,
    watch: Watch | None = None,
    trained: Path | None = None,
) -> dict[str, Any]:
    """Train and test one model.

    Args:
        settings: of the run, checked.
        saved: whether to write checkpoints; see :func:`run_recbole_darec`.
        verbose: whether each epoch is logged.
        watch: who looks on.
        trained: the best model of a run that is trained as this one would be, which is taken.

    Returns:
        As :func:`run_recbole_darec`.

    Raises:
        UserError: a file or a checkpoint is at fault; the message says which.
    """
    with compat.logging_until_checked() as kept:
        run = prepare(settings)
        check_outputs(run.config, run.model)
        _check_resumable(run)
    config = run.config
    compat.start_logging(config, kept)
    getLogger().info(run.model)
    trainer = make_trainer(run)
    trainer.watch = watch or trainer.watch
    if settings.run.resume:
        trainer.snapshots.resume(settings.run.resume, keep_files=saved)
    progress = bool(config["show_progress"]) and verbose
    with _telling_what_is_kept(trainer):
        if trained is not None:
            take_trained(trainer, trained, run.train_data, saved=saved)
        else:
            trainer.fit(
                run.train_data, run.valid_data, verbose=verbose, saved=saved, show_progress=progress
            )
        trainer.phases.forget_moments()
        trainer.tune_ranking(run.valid_data, saved=saved)
        test_result = tested(
            trainer,
            run.train_data,
            run.test_data,
            load_best_model=saved and trainer.best_epoch >= 0,
            show_progress=progress,
        )
    by_frequency = _by_frequency(run)
    if saved and trainer.best_epoch >= 0:
        _keep_under_its_name(trainer, settings.run.checkpoint_name)
    trainer.snapshots.forget()
    return {
        "best_valid_score": trainer.best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": trainer.best_valid_result,
        "test_result": dict(test_result),
        "best_epoch": trainer.best_epoch,
        "model_file": trainer.saved_model_file if saved else None,
        **by_frequency,
    }


def make_data_and_model(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Make what a run trains, for a training by hand: RecBole's modules, one by one.

    Args:
        model: name of the backbone, or a recommender class.
        dataset: name of the data set.
        config_file_list: property files of the user, later ones win.
        config_dict: options from code; they win over the files.

    Returns:
        ``config, model, dataset, train_data, valid_data, test_data``, as ``load_data_and_model``
        returns them of a trained model.

    Raises:
        UserError: an option or a file is at fault; the message says which.
    """
    run = prepare(resolve(model, dataset, config_file_list, config_dict, None))
    return run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data


def prepare(settings: Settings) -> Prepared:
    """Read and check everything; writes nothing."""
    backbone = settings.model_class or backbone_class(settings.model)
    config = compat.make_config(settings, backbone)
    if settings.run.num_threads:
        torch.set_num_threads(settings.run.num_threads)
    compat.init_seed(config["seed"], config["reproducibility"])
    dataset = compat.load_dataset(config)
    parts, config.split = compat.split_dataset(config, dataset)
    _check_topk(config, dataset)
    compat.add_training_noise(config, parts)
    model_class = aligned_class(backbone, settings.align)
    make_data = sequential_data if settings.family == "sequential" else general_data
    train_data, valid_data, test_data, model = make_data(config, dataset, parts, model_class)
    _check_learner(config, model)
    check_buckets(config, train_data, settings.evaluation.result_buckets)
    identity = RunIdentity(
        model=config["model"],
        align=str(config["align"]),
        dataset=config["dataset"],
        own_class=settings.model_class.__name__ if settings.model_class else None,
        settings=settings.values,
        data=data_fingerprint(dataset, ordered=settings.family == "sequential"),
        later_defaults=settings.later_defaults,
    )
    return Prepared(settings, config, dataset, train_data, valid_data, test_data, model, identity)


def make_trainer(run: Prepared) -> Any:
    """Return the trainer that RecBole has for the backbone, with ours over it."""
    return trainer_class(compat.recbole_trainer(run.config))(run.config, run.model, run.identity)


def _check_learner(config: Any, model: torch.nn.Module) -> None:
    sparse = any(getattr(module, "sparse", False) for module in model.modules())
    if config["learner"] == "sparse_adam" and not sparse:
        raise OptionError(
            f"learner=sparse_adam takes sparse gradients, and the model '{config['model']}' has "
            "none: take adam"
        )


def _check_topk(config: Any, dataset: Any) -> None:
    longest = max(config["topk"])
    if longest >= dataset.item_num:
        raise OptionError(
            f"topk={config['topk']}: there are only {dataset.item_num - 1} items to rank in "
            f"'{config['dataset']}'"
        )


def _check_resumable(run: Prepared) -> None:
    """Refuse a wrong ``--resume=FILE`` or ``--pretrained=FILE`` before anything is written."""
    check_pretrained(run.identity, run.model)
    if isinstance(resume := run.settings.run.resume, str):
        read_snapshot(Path(resume), run.identity, Length.of_run(run.config, run.model))


def _by_frequency(run: Prepared) -> dict[str, Any]:
    """Return the model's test metrics by bucket, where a run asks for them."""
    n_buckets = run.settings.evaluation.result_buckets
    if not n_buckets:
        return {}
    found = evaluate_by_frequency(run.config, run.model, run.train_data, run.test_data, n_buckets)
    return {"test_by_frequency": found}


def _keep_under_its_name(trainer: Any, name: str | None) -> None:
    """Copy the best model of a resumed run, which began under another name."""
    if name is None:
        return
    wanted = Path(trainer.checkpoint_dir) / name
    if wanted != Path(trainer.saved_model_file):
        with replacing(wanted) as file:
            file.write(Path(trainer.saved_model_file).read_bytes())
        trainer.saved_model_file = str(wanted)


@contextlib.contextmanager
def _telling_what_is_kept(trainer: Any) -> Iterator[None]:
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

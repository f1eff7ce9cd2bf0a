"""One run, told as a story: settings, data, embeddings, model, training, evaluation, result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_darec import recbole_compat as compat
from recbole_darec.errors import OptionError
from recbole_darec.prepared import Prepared, make_trainer, prepare
from recbole_darec.resolve import resolve, restore
from recbole_darec.settings.processes import Place, check_processes
from recbole_darec.settings.run_settings import Settings
from recbole_darec.training.divisible import check_divisible
from recbole_darec.training.ending import keep_under_its_name, telling_what_is_kept
from recbole_darec.training.machine import gpu_of, machine_of, threads_of
from recbole_darec.training.parallel import current_ranks, joined
from recbole_darec.training.phases import check_pretrained
from recbole_darec.training.preflight import check_outputs
from recbole_darec.training.processes import train_together
from recbole_darec.training.snapshots import Length, read_snapshot
from recbole_darec.training.trained import take_trained
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
        RecBole (metrics unrounded), and ``best_epoch``, ``model_file`` and ``log_file``; with
        ``result_buckets`` ``test_by_frequency``, what ``metrics_by_frequency`` returns.

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
    first_phase: Path | None = None,
) -> dict[str, Any]:
    """Train and test one model.

    Args:
        settings: of the run, checked.
        saved: whether to write checkpoints; see :func:`run_recbole_darec`.
        verbose: whether each epoch is logged.
        watch: who looks on.
        trained: the best model of a run that is trained as this one would be, which is taken.
        first_phase: the best model of a first phase that is trained as this run's would be.

    Returns:
        As :func:`run_recbole_darec`.

    Raises:
        UserError: a file or a checkpoint is at fault; the message says which.
    """
    place = check_processes(settings.run)
    if place is None and (machine := machine_of(settings)) is not None:
        if any(given is not None for given in (watch, trained, first_phase)):
            raise OptionError(
                f"nproc={settings.run.nproc}: a study has processes of its own, one a run; leave "
                "nproc out (jobs says how many)"
            )
        what = settings.model_class or settings.model, settings.dataset, settings.align
        return train_together(machine, _train_at, (what, settings.values, saved, verbose))
    if place is not None and place.size > 1:
        return _train_with_others(place, settings, saved, verbose)
    return _train(settings, saved, verbose, watch, trained, first_phase)


def _train_at(
    place: Place, what: tuple[Any, str, str], values: dict[str, Any], saved: bool, verbose: bool
) -> dict[str, Any]:
    """Train as one of several processes, which :func:`train` has started."""
    return _train_with_others(place, restore(*what, values), saved, verbose)


def _train_with_others(
    place: Place, settings: Settings, saved: bool, verbose: bool
) -> dict[str, Any]:
    gpu = gpu_of(place, settings)
    threads_of(place, settings)
    with joined(place, gpu=gpu):
        return _train(settings, saved, verbose)


def _train(
    settings: Settings,
    saved: bool,
    verbose: bool,
    watch: Watch | None = None,
    trained: Path | None = None,
    first_phase: Path | None = None,
) -> dict[str, Any]:
    ranks = current_ranks()
    with compat.logging_until_checked() as kept:
        with ranks.together():
            run = prepare(settings)
            check_outputs(run.config, run.model)
            _check_resumable(run)
            if ranks.size > 1:
                _check_shared(run)
        if ranks.size > 1:
            ranks.agree(run.told(), "there are other data or options")
    config = run.config
    if ranks.is_first:
        compat.start_logging(config, kept)
    getLogger().info(run.model)
    ranks.log_processes()
    trainer = make_trainer(run)
    trainer.watch = watch or trainer.watch
    trainer.phases.first_phase = first_phase
    if settings.run.resume:
        with ranks.together():
            trainer.snapshots.resume(settings.run.resume, keep_files=saved)
        ranks.agree(
            {"epoch": f"{trainer.phases.number}.{trainer.start_epoch}"}, "there is another snapshot"
        )
    verbose = verbose and ranks.is_first
    progress = bool(config["show_progress"]) and verbose
    with telling_what_is_kept(trainer):
        if trained is not None:
            take_trained(trainer, trained, run.train_data, saved=saved)
        else:
            trainer.fit(
                run.train_data, run.valid_data, verbose=verbose, saved=saved, show_progress=progress
            )
        trainer.phases.forget_moments()
        trainer.tune_ranking(run.valid_data, saved=saved)
        test_result, by_frequency = tested(
            trainer,
            run.train_data,
            run.test_data,
            load_best_model=saved and trainer.best_epoch >= 0,
            show_progress=progress,
        )
    if saved and trainer.best_epoch >= 0:
        keep_under_its_name(trainer, settings.run.checkpoint_name)
    if not trainer.watch.keeps_snapshot:
        trainer.snapshots.forget()
    ranks.wait()  # nobody leaves before the files are there
    return {
        "best_valid_score": trainer.best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": trainer.best_valid_result,
        "test_result": test_result,
        "best_epoch": trainer.best_epoch,
        "model_file": trainer.saved_model_file if saved else None,
        "log_file": compat.log_file(),
        **({} if by_frequency is None else {"test_by_frequency": by_frequency}),
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
    settings = resolve(model, dataset, config_file_list, config_dict, None)
    if settings.run.nproc > 1:
        raise OptionError("nproc has no effect here: a training by hand is one process's")
    run = prepare(settings)
    return run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data


def _check_resumable(run: Prepared) -> None:
    """Refuse a wrong ``--resume=FILE`` or ``--pretrained=FILE`` before anything is written."""
    check_pretrained(run.identity, run.model)
    if isinstance(resume := run.settings.run.resume, str):
        read_snapshot(Path(resume), run.identity, Length.of_run(run.config, run.model))


def _check_shared(run: Prepared) -> None:
    """Refuse a model that several processes cannot train."""
    trainer, size = compat.recbole_trainer(run.config, run.model), current_ranks().size
    check_divisible(run.config, run.model, run.train_data, trainer, size)

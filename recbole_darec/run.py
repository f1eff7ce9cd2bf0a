"""One run, told as a story: options, data, embeddings, model, training, evaluation, result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch

from recbole_darec import recbole_compat as compat
from recbole_darec.aligned.recommender import aligned_class
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.errors import CheckpointError, EmbeddingError, OptionError
from recbole_darec.evaluation.all_rank import AllRankLoader
from recbole_darec.evaluation.ranking import evaluate
from recbole_darec.resolve import resolve
from recbole_darec.settings.run_settings import Settings
from recbole_darec.training.checkpoint import (
    data_fingerprint,
    load_checkpoint,
    settings_fingerprint,
)
from recbole_darec.training.preflight import check_outputs
from recbole_darec.training.trainer import (
    check_identity,
    keeping_best,
    load_parameters,
    read_snapshot,
    trainer_class,
)

__all__ = [
    "LoadedRun",
    "evaluate_checkpoint",
    "load_data_and_model",
    "objective_function",
    "run_recbole_darec",
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
    data: dict[str, Any]


@dataclass(frozen=True)
class LoadedRun:
    """A trained model with its data, as :func:`load_data_and_model` returns it."""

    config: Any
    model: Any
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any


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
        RecBole (metrics unrounded), and ``best_epoch``, ``model_file``.

    Raises:
        UserError: an option, a file or a checkpoint is at fault; the message says which.
    """
    settings = resolve(model, dataset, config_file_list, config_dict, command_line)
    result = _train(settings, saved=saved, verbose=True)
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
    result = _train(settings, saved=saved, verbose=False)
    return {"model": settings.model, **result}


def load_data_and_model(
    model_file: str, model: type | None = None
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Load a trained model and its data, in this or in another process than it was trained in.

    Args:
        model_file: a checkpoint that a run wrote.
        model: the recommender class, where the run was given a class and not a name.

    Returns:
        ``config, model, dataset, train_data, valid_data, test_data``, as RecBole's function.

    Raises:
        CheckpointError: the file is damaged, or the data set has changed since.
    """
    run = _load(Path(model_file), {}, model)
    return run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data


def evaluate_checkpoint(
    model_file: str,
    options: Mapping[str, Any] | None = None,
    model: type | None = None,
) -> dict[str, dict[str, float]]:
    """Rank all items for the validation and test users with a trained model.

    Args:
        model_file: a checkpoint that a run wrote.
        options: evaluation options that replace the checkpoint's, such as ``eval_mask``.
        model: the recommender class, where the run was given a class and not a name.

    Returns:
        Metrics by name, unrounded, under ``valid`` and ``test``.
    """
    run = _load(Path(model_file), options or {}, model)
    return {
        part: evaluate(run.config, run.model, run.train_data, loader)
        for part, loader in (("valid", run.valid_data), ("test", run.test_data))
    }


def _train(settings: Settings, *, saved: bool, verbose: bool) -> dict[str, Any]:
    with compat.logging_until_checked() as kept:
        run = prepare(settings)
        check_outputs(run.config, run.model)
        _check_snapshot(run)
    config = run.config
    compat.start_logging(config, kept)
    log = getLogger()
    log.info(run.model)
    trainer = make_trainer(run)
    if settings.run.resume:
        trainer.resume(settings.run.resume)
    progress = bool(config["show_progress"]) and verbose
    with keeping_best(trainer):
        best_score, best_result = trainer.fit(
            run.train_data, run.valid_data, verbose=verbose, saved=saved, show_progress=progress
        )
        test_result = trainer.evaluate(
            run.test_data,
            load_best_model=saved and trainer.best_epoch >= 0,
            show_progress=progress,
        )
    trainer.forget_snapshot()
    return {
        "best_valid_score": best_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": best_result,
        "test_result": dict(test_result),
        "best_epoch": trainer.best_epoch,
        "model_file": trainer.saved_model_file if saved else None,
    }


def _check_snapshot(run: Prepared) -> None:
    """Refuse a wrong ``--resume=FILE`` before anything is written."""
    resume = run.settings.run.resume
    if isinstance(resume, str):
        given = run.settings.model_class
        name = given.__name__ if given else run.config["model"]
        fingerprint = settings_fingerprint(name, run.config["dataset"], run.settings.values)
        read_snapshot(Path(resume), run.config, run.data, fingerprint)


def prepare(settings: Settings) -> Prepared:
    """Read and check everything; writes nothing."""
    config = compat.make_config(settings)
    if settings.run.num_threads:
        torch.set_num_threads(settings.run.num_threads)
    compat.init_seed(config["seed"], config["reproducibility"])
    dataset = compat.load_dataset(config)
    parts, config.split = compat.split_dataset(config, dataset)
    train_data, valid_sampler, test_sampler = compat.training_loader(config, dataset, parts)
    valid_data = _evaluation_loader(config, "valid", parts, valid_sampler)
    test_data = _evaluation_loader(config, "test", parts, test_sampler)
    _check_topk(config, dataset)
    compat.init_seed(config["seed"], config["reproducibility"])
    backbone = settings.model_class or compat.backbone_class(settings.model)
    model_class = aligned_class(backbone, settings.align)
    model = model_class(config, train_data._dataset).to(config["device"])
    return Prepared(
        settings, config, dataset, train_data, valid_data, test_data, model,
        data_fingerprint(dataset),
    )  # fmt: skip


def _evaluation_loader(config: Any, phase: str, parts: Sequence[Any], sampler: Any) -> Any:
    position = ("train", "valid", "test").index(phase)
    options = config.settings.evaluation
    ranked = config["eval_args"]["mode"][phase] == "full"
    if not ranked or config["MODEL_TYPE"] not in _RANKING_ALL_ITEMS:
        loader = compat.evaluation_loader(config, phase)
        return loader(config, parts[position], sampler, shuffle=False)
    masked = parts[:1] if options.eval_mask == "train" else parts[:position]
    return AllRankLoader(config, parts[position], masked, options.eval_batch_users)


_RANKING_ALL_ITEMS = (compat.ModelType.GENERAL, compat.ModelType.TRADITIONAL)


def _check_topk(config: Any, dataset: Any) -> None:
    longest = max(config["topk"])
    if longest >= dataset.item_num:
        raise OptionError(
            f"topk={config['topk']}: there are only {dataset.item_num - 1} items to rank in "
            f"'{config['dataset']}'"
        )


def make_trainer(run: Prepared) -> Any:
    kind = trainer_class(compat.recbole_trainer(run.config))
    given = run.settings.model_class
    return kind(run.config, run.model, run.settings.values, run.data, given and given.__name__)


def _load(path: Path, options: Mapping[str, Any], model_class: type | None) -> LoadedRun:
    content = load_checkpoint(path)
    if "settings" not in content:
        raise CheckpointError(f"'{path}' does not say how its model was made")
    own_class = content["own_class"]
    if own_class != (model_class and model_class.__name__):
        raise CheckpointError(
            f"'{path}' was trained with a class of the caller's, {own_class}: load it in Python, "
            "and give that class as model="
            if own_class
            else f"'{path}' holds the registered model '{content['model']}': leave model= out"
        )
    settings = _stored_settings(content, options, model_class)
    try:
        run = prepare(settings)
    except EmbeddingError as error:
        if model_class is not None or aligner_class(settings.align).alters("final"):
            raise
        # Ranking is the backbone's own: what only training needs may be gone by now.
        getLogger().warning(f"Loading '{path}' without its aligner: {error}")
        content = _without_aligner(content)
        run = prepare(settings.without_aligner())
    check_identity(content, run.config, run.data, path)
    load_parameters(run.model, content, path)
    run.model.eval()
    return LoadedRun(
        run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data
    )


def _without_aligner(content: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in content["state_dict"].items() if not k.startswith("alignment.")}
    return {**content, "align": "none", "state_dict": kept}


def _stored_settings(
    content: Mapping[str, Any], options: Mapping[str, Any], model_class: type | None
) -> Settings:
    """Return a checkpoint's settings with ``options`` over them.

    The stored ones were checked when the run was made, and may hold options of other models, as a
    property file may; only the new ones are checked.
    """
    stored = {**content["settings"], "resume": False}
    data_path = {"data_path": stored["data_path"]} if "data_path" in stored else {}
    given = {**data_path, "align": content["align"], **options}
    resolved = resolve(
        model_class or content["model"], content["data"]["dataset"], config_dict=given
    )
    changed = {name: resolved.values[name] for name in options}
    return resolved.with_values({**stored, **changed})

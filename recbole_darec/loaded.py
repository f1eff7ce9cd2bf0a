"""From a checkpoint to the model and its data, in this or in any later process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_darec.alignment.registry import aligner_class
from recbole_darec.errors import CheckpointError, EmbeddingError
from recbole_darec.evaluation.by_frequency import evaluate_by_frequency
from recbole_darec.evaluation.ranking import evaluate
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare
from recbole_darec.settings.run_settings import Settings
from recbole_darec.training.checkpoint import load_checkpoint, load_parameters

__all__ = [
    "LoadedRun",
    "evaluate_checkpoint",
    "evaluate_run",
    "load_data_and_model",
    "load_run",
]


@dataclass(frozen=True)
class LoadedRun:
    """A trained model with its data."""

    config: Any
    model: Any
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any

    @property
    def parts(self) -> list[Any]:
        """The training, validation and test part."""
        loaders = (self.train_data, self.valid_data, self.test_data)
        return [getattr(loader, "_dataset", None) or loader.dataset for loader in loaders]


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
    run = load_run(Path(model_file), {}, model)
    return run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data


def evaluate_checkpoint(
    model_file: str,
    options: Mapping[str, Any] | None = None,
    model: type | None = None,
) -> dict[str, dict[str, Any]]:
    """Rank all items for the validation and test users with a trained model.

    Args:
        model_file: a checkpoint that a run wrote.
        options: evaluation options that replace the checkpoint's, such as ``eval_mask``.
        model: the recommender class, where the run was given a class and not a name.

    Returns:
        Metrics by name, unrounded, under ``valid`` and ``test``; with ``result_buckets`` the test
        metrics by training frequency under ``test_by_frequency``.
    """
    return evaluate_run(load_run(Path(model_file), options or {}, model))


def evaluate_run(run: LoadedRun) -> dict[str, dict[str, Any]]:
    """Return :func:`evaluate_checkpoint` of a loaded run."""
    made = run.config, run.model, run.train_data
    valid = evaluate(*made, run.valid_data)
    n_buckets = run.config.settings.evaluation.result_buckets
    if not n_buckets:
        return {"valid": valid, "test": evaluate(*made, run.test_data)}
    test, by_bucket = evaluate_by_frequency(*made, run.test_data, n_buckets)
    return {"valid": valid, "test": test, "test_by_frequency": by_bucket}


def load_run(path: Path, options: Mapping[str, Any], model_class: type | None) -> LoadedRun:
    """Make the model and the data of a checkpoint again.

    Args:
        path: the checkpoint.
        options: evaluation options that replace the checkpoint's.
        model_class: the recommender class, where the run was given a class and not a name.

    Raises:
        CheckpointError: the file is damaged, or the data set has changed since.
    """
    content = load_checkpoint(path)
    _check_class(content, model_class, path)
    run, content = _prepared(content, _stored_settings(content, options, model_class), path)
    run.identity.check(content, path)
    load_parameters(run.model, content, path)
    run.model.eval()
    return LoadedRun(
        run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data
    )


def _check_class(content: Mapping[str, Any], given: type | None, path: Path) -> None:
    if "settings" not in content:
        raise CheckpointError(f"'{path}' does not say how its model was made")
    own_class = content["own_class"]
    if own_class != (given and given.__name__):
        raise CheckpointError(
            f"'{path}' was trained with a class of the caller's, {own_class}: load it in Python, "
            "and give that class as model="
            if own_class
            else f"'{path}' holds the registered model '{content['model']}': leave model= out"
        )


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


def _prepared(
    content: dict[str, Any], settings: Settings, path: Path
) -> tuple[Prepared, dict[str, Any]]:
    """Return the run, ready for the checkpoint's parameters, and the content to load into it."""
    try:
        return prepare(settings), content
    except EmbeddingError as error:
        if settings.model_class is not None or _needed_in_ranking(settings.align):
            raise
        # Ranking is the backbone's own: what only training needs may be gone by now.
        getLogger().warning(f"Loading '{path}' without its aligner: {error}")
    state = content["state_dict"]
    kept = {name: value for name, value in state.items() if not name.startswith("alignment.")}
    return prepare(settings.without_aligner()), {**content, "align": "none", "state_dict": kept}


def _needed_in_ranking(align: str) -> bool:
    method = aligner_class(align)
    return bool(method.alters("final") or method.alters("scores") or method.has_experts())

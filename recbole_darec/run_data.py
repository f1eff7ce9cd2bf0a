"""The loaders of a run's three parts, and the model that is made for them."""

from __future__ import annotations

from collections.abc import Sequence
from logging import getLogger
from typing import Any

from recbole_darec import recbole_compat as compat
from recbole_darec.errors import OptionError, UserError, first_line, is_out_of_memory
from recbole_darec.evaluation.all_rank import AllRankLoader
from recbole_darec.evaluation.sequential_rank import SequentialRankLoader
from recbole_darec.training.sequences import SequenceLoader

__all__ = ["general_data", "sequential_data"]


def general_data(
    config: Any, dataset: Any, parts: Sequence[Any], model_class: Any
) -> tuple[Any, Any, Any, Any]:
    """Return the loaders of the three parts, and the model."""
    train_data, *samplers = compat.training_loader(config, dataset, list(parts))
    valid_data, test_data = (
        _evaluation_loader(config, phase, parts, sampler)
        for phase, sampler in zip(("valid", "test"), samplers)
    )
    ranked = isinstance(valid_data, AllRankLoader) and isinstance(test_data, AllRankLoader)
    if ranked and "eval_batch_size" in config.settings.values:
        getLogger().info(
            "eval_batch_size counts pairs and has no effect where all items are ranked; see "
            "eval_batch_users"
        )
    return train_data, valid_data, test_data, _made(model_class, config, train_data._dataset)


def sequential_data(
    config: Any, dataset: Any, parts: Sequence[Any], model_class: Any
) -> tuple[Any, Any, Any, Any]:
    """Return the loaders of the three parts, and the model, which says what a training row is."""
    options = config.settings.evaluation
    valid_data, test_data = (
        SequentialRankLoader(
            config,
            parts[n],
            parts[:n],
            options.eval_mask,
            options.users_per_batch(dataset.item_num),
        )
        for n in (1, 2)
    )
    model = _made(model_class, config, parts[0])
    if model.reads_positions:
        for loader in (valid_data, test_data):
            loader.group_by_length()
    train_data = SequenceLoader(config, parts[0], positions=model.reads_positions)
    return train_data, valid_data, test_data, model


def _made(model_class: Any, config: Any, train_part: Any) -> Any:
    compat.init_seed(config["seed"], config["reproducibility"])
    try:
        with compat.plain_files(config["model"]):
            model = model_class(config, train_part)
    except (UserError, OSError):
        raise
    except (Exception, SystemExit) as error:
        settings = config.settings
        by_recbole = settings.backbone is None and settings.model_class is None
        # In a constructor of RecBole it comes of an option, anywhere else it would be a fault.
        if not by_recbole or not compat.raised_in_a_model(error) or is_out_of_memory(error):
            raise
        raise _not_made(config, error) from error
    compat.use_fast_layers(model)
    return model.to(config["device"])


def _not_made(config: Any, error: BaseException) -> OptionError:
    said = f"({type(error).__name__}: {first_line(error)})"
    if config.settings.family == "sequential":
        # Several of RecBole's want features of items, or a loss of their own.
        return OptionError(
            f"RecBole's model '{config['model']}' cannot be made of items and their order with "
            f"rank_loss={config['rank_loss']} {said}; take one such as SASRec, GRU4Rec or Caser"
        )
    return OptionError(
        f"RecBole's model '{config['model']}' cannot be made {said}; look at its options in "
        "RecBole's property file of it"
    )


def _evaluation_loader(config: Any, phase: str, parts: Sequence[Any], sampler: Any) -> Any:
    position = ("train", "valid", "test").index(phase)
    options = config.settings.evaluation
    ranked = config["eval_args"]["mode"][phase] == "full"
    label = config["LABEL_FIELD"]
    if config["eval_args"]["mode"][phase] == "labeled" and label not in parts[position].inter_feat:
        raise OptionError(
            f"eval_args: mode=labeled reads the column '{label}' of the interactions, which is not "
            f"loaded: name one with LABEL_FIELD and load_col, or make it with threshold={{COLUMN: "
            "NUMBER}"
        )
    if not ranked or config["MODEL_TYPE"] not in _RANKING_ALL_ITEMS:
        loader = compat.evaluation_loader(config, phase)
        return loader(config, parts[position], sampler, shuffle=False)
    masked = parts[:1] if options.eval_mask == "train" else parts[:position]
    if config["repeatable"]:  # what was taken before may be taken again
        masked = parts[:0]
    users = options.users_per_batch(parts[position].item_num)
    return AllRankLoader(config, parts[position], masked, users)


_RANKING_ALL_ITEMS = (compat.ModelType.GENERAL, compat.ModelType.TRADITIONAL)

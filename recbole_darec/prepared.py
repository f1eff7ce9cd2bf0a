"""What a run needs before its first training step: read, made and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from recbole_darec import recbole_compat as compat
from recbole_darec.aligned.classes import aligned_class
from recbole_darec.backbones.registry import backbone_class
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.by_frequency import check_buckets
from recbole_darec.run_data import general_data, sequential_data
from recbole_darec.settings.run_settings import Settings
from recbole_darec.training.divisible import told_of_profiles
from recbole_darec.training.identity import RunIdentity, data_fingerprint
from recbole_darec.training.parallel import current_ranks
from recbole_darec.training.trainer import trainer_class

__all__ = ["Prepared", "make_trainer", "prepare"]


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

    def told(self) -> dict[str, str]:
        """Return what must be the same for all processes that train the model, in words."""
        return {**self.identity.told(), "profiles": told_of_profiles(self.model)}


def prepare(settings: Settings) -> Prepared:
    """Read and check everything; writes nothing."""
    backbone = settings.model_class or backbone_class(settings.model)
    config = compat.make_config(settings, backbone, current_ranks().gpu)
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
    return trainer_class(compat.recbole_trainer(run.config, run.model))(
        run.config, run.model, run.identity
    )


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

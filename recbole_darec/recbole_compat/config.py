"""RecBole's configuration, made from settings that were merged and checked before."""

from __future__ import annotations

from logging import getLogger
from typing import Any, ClassVar

import yaml

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.config import Config
from recbole.utils import InputType, ModelType

from recbole_darec.data.splits import Split
from recbole_darec.errors import OptionError
from recbole_darec.recbole_compat.reconcile import reconcile
from recbole_darec.settings.layers import data_folder
from recbole_darec.settings.run_options import SequenceOptions
from recbole_darec.settings.run_settings import Settings

__all__ = ["AlignedConfig", "make_config"]


class AlignedConfig(Config):
    """RecBole's configuration, made from settings that were merged and checked before.

    Works around: RecBole reads ``sys.argv`` wherever a Config is made, so that the arguments of a
    test runner or of a tuning worker become options, and command-line values silently override the
    trial's parameters.  Here the command line is one layer of :mod:`recbole_darec.settings.layers`.

    Attributes:
        settings: the run's settings, whose options
            :func:`~recbole_darec.settings.options.options_from_config` hands out.
        split: how the run's interactions were split, where it was by a seed of its own.  It stands
            here because RecBole makes a model from a configuration and a data set, nothing else.
    """

    settings: Settings
    split: Split | None = None
    _loader: ClassVar[type | None] = None

    def _build_yaml_loader(self) -> type:
        # RecBole adds its form of numbers to PyYAML's own loader each time, and reads slowly.
        if AlignedConfig._loader is None:
            plain = super()._build_yaml_loader()
            numbers = {"yaml_implicit_resolvers": plain.yaml_implicit_resolvers}
            fast = getattr(yaml, "CFullLoader", plain)
            AlignedConfig._loader = type("Loader", (fast,), numbers)
        return AlignedConfig._loader

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        # RecBole passes every text through eval(); ours are parsed values already.
        return config_dict


def make_config(settings: Settings, backbone: type, gpu: str | None = None) -> AlignedConfig:
    """Return RecBole's configuration for the settings of one run.

    Works around: RecBole looks model, trainer and data set up by name and fails for a class that it
    does not ship.  It is given the backbone's class and keeps the backbone's name, under which its
    own lookups (``NCLTrainer``, a special loader) still work.

    Args:
        settings: of the run, checked.
        backbone: the model's class.
        gpu: the one GPU of this process, where each of several has one.

    Raises:
        UserError: RecBole refuses an option.
    """
    reconcile()
    named = type(settings.model, (backbone,), {}) if settings.model_class else backbone
    values = {k: v for k, v in settings.values.items() if v is not None or k in _NULLABLE}
    if isinstance(settings.of_family, SequenceOptions):
        # RecBole decides by loss_type whether a model has negatives, and knows no other word.
        softmax = settings.of_family.rank_loss == "ce"
        values["loss_type"] = "CE" if softmax else "BPR"
        if softmax:
            values["train_neg_sample_args"] = None
    names = {"user_id": values.get("USER_ID_FIELD"), "item_id": values.get("ITEM_ID_FIELD")}
    if "load_col" not in values and any(names.values()):
        # RecBole's own default reads user_id and item_id, whatever the columns are called.
        values["load_col"] = {"inter": [given or name for name, given in names.items()]}
    if gpu is not None:
        values["gpu_id"] = gpu
    if values.get("use_gpu") is False:
        values["gpu_id"] = ""  # RecBole chooses the device by gpu_id alone
    if str(values.get("encoding", "utf-8")).lower() in ("utf-8", "utf8"):
        values["encoding"] = "utf-8-sig"  # spreadsheets and editors write a byte order mark
    try:
        config = AlignedConfig(model=named, dataset=settings.dataset, config_dict=values)
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise OptionError(f"RecBole refuses an option: {error}") from error
    config.settings = settings
    _check_threshold(config)
    _say_device(config)
    # RecBole reads ml-100k from its own package even where data_path holds a copy.
    config["data_path"] = str(
        data_folder(str(settings.values.get("data_path", "dataset/")), settings.dataset)
    )
    return config


def _check_threshold(config: AlignedConfig) -> None:
    """Refuse labels that nothing reads: drawn negatives and rankings make their own."""
    if config["threshold"] is None:
        return
    mode = config["eval_args"]["mode"]
    labelled = "labeled" in (mode.values() if isinstance(mode, dict) else [mode])
    drawn = (config["train_neg_sample_args"] or {}).get("distribution", "none") != "none"
    general = config["MODEL_TYPE"] == ModelType.GENERAL
    pointwise = config["MODEL_INPUT_TYPE"] == InputType.POINTWISE
    if not labelled and (drawn or not general or not pointwise):
        (field,) = config["threshold"]
        raise OptionError(
            f"threshold={config['threshold']} has no effect here: {config['model']} takes every "
            f"interaction for a positive one; val_interval={{'{field}': '[…,inf)'}} leaves low "
            "values out"
        )


def _say_device(config: AlignedConfig) -> None:
    """Log what the machine has not got of what is asked for."""
    asked = config.settings.values
    if config["device"].type != "cpu":
        return
    if str(asked.get("gpu_id", "")) and asked.get("use_gpu") is not False and "gpu_id" in asked:
        getLogger().warning(f"gpu_id={asked['gpu_id']}: there is no GPU, the run is on the CPU")
    if asked.get("enable_scaler"):
        getLogger().warning(
            "enable_scaler has no effect on a CPU: its mixed precision is bfloat16, which needs no "
            "scaling"
        )


# Options whose null means something to RecBole; any other null leaves its default alone.
_NULLABLE = frozenset(
    [
        "load_col",
        "unload_col",
        "unused_col",
        "additional_feat_suffix",
        "rm_dup_inter",
        "val_interval",
        "user_inter_num_interval",
        "item_inter_num_interval",
        "alias_of_user_id",
        "alias_of_item_id",
        "preload_weight",
        "normalize_field",
        "normalize_all",
        "benchmark_filename",
        "threshold",
        "clip_grad_norm",
        "train_neg_sample_args",
        "seq_len",
        "transform",
        "split_seed",
    ]
)

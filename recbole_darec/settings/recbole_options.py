"""RecBole's own options: which there are, and those worth a clear answer before it is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from recbole_darec.environment import recbole_dir
from recbole_darec.errors import OptionError, nearest
from recbole_darec.settings.options import Options, option
from recbole_darec.settings.values import read_yaml

__all__ = [
    "CheckedRecBoleOptions",
    "check_recbole_values",
    "recbole_keys",
    "refuse_pickles",
]


class CheckedRecBoleOptions(Options):
    """RecBole's own options that are worth a clear answer before RecBole is imported."""

    seed: int = option(2020, "Seed of everything random.", low=0, high=2**32 - 1)
    epochs: int = option(300, "Epochs at most.", low=0)
    train_batch_size: int = option(2048, "Interactions in a training batch.", low=1)
    eval_batch_size: int = option(4096, "User-item pairs scored at a time.", low=1)
    learning_rate: float = option(0.001, "Step size of the optimiser.", above=0.0, high=1e6)
    eval_step: int = option(1, "Epochs between two evaluations on the validation part.", low=0)
    stopping_step: int = option(10, "Evaluations without a gain after which training stops.", low=0)
    weight_decay: float = option(0.0, "The optimiser's weight decay.", low=0.0)
    embedding_size: int = option(64, "Width of the embeddings.", low=1)
    n_layers: int = option(2, "Propagation layers.", low=0)
    reg_weight: float | None = option(0.0, "Weight of the L2 term.", low=0.0)
    topk: list[int] = option([10], "Cut-offs of the ranking metrics.", low=1)
    metric_decimal_place: int = option(4, "Digits to which RecBole rounds metrics.", low=0, high=15)
    gpu_id: int | str | list[int] = option("0", "GPUs that a run may see.")
    worker: int = option(0, "Processes that load data.", low=0)
    learner: str = option(
        "adam",
        "The optimiser.",
        choices=("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
    )
    loss_decimal_place: int = option(4, "Digits of the losses in the log.", low=0, high=15)
    show_progress: bool = option(True, "Whether a bar shows an epoch's progress.")
    use_gpu: bool = option(True, "Whether a GPU is used where there is one.")
    reproducibility: bool = option(True, "Whether cuDNN is held to deterministic algorithms.")
    shuffle: bool = option(True, "Whether the training data are shuffled before each epoch.")
    enable_amp: bool = option(False, "Whether training uses mixed precision.")
    enable_scaler: bool = option(False, "Whether mixed precision scales the loss.")
    data_path: str = option("dataset/", "The folder of data sets.")
    checkpoint_dir: str = option("saved", "The folder of checkpoints.")
    eval_args: dict[str, Any] = option({}, "How the data are split and evaluated.")
    clip_grad_norm: dict[str, Any] | None = option(None, "Arguments of the gradient's clipping.")
    log_wandb: bool = option(False, "Whether Weights & Biases gets losses and metrics.")
    wandb_project: str = option("recbole", "The project there.")
    encoding: str = option("utf-8", "How atomic files are encoded.")
    field_separator: str = option("\t", "What stands between the columns of an atomic file.")
    seq_separator: str = option(" ", "What stands between the elements of a sequence.")
    load_col: dict[str, Any] | None = option(None, "The columns that are read, by file.")
    unload_col: dict[str, list[str]] | None = option(None, "The columns that are not, by file.")
    unused_col: dict[str, list[str]] | None = option(
        None, "Columns that are dropped once the data are split, by file."
    )
    seq_len: dict[str, int] | None = option(None, "The longest sequences, by column.", low=1)
    additional_feat_suffix: list[str] | None = option(None, "More atomic files, by their ending.")
    alias_of_user_id: list[str] | None = option(None, "Columns that hold users' ids too.")
    alias_of_item_id: list[str] | None = option(None, "Columns that hold items' ids too.")
    preload_weight: dict[str, str] | None = option(None, "Columns of vectors, by their ids'.")
    threshold: dict[str, float] | None = option(
        None, "From which value of one column on an interaction is labelled 1."
    )
    normalize_field: list[str] | None = option(None, "Columns that are brought to 0 to 1.")
    normalize_all: bool | None = option(None, "Whether all columns of numbers are.")
    numerical_features: list[str] = option([], "Columns of numbers that have embeddings.")
    repeatable: bool | None = option(False, "Whether what was taken may be recommended again.")
    filter_inter_by_user_or_item: bool = option(
        True, "Whether interactions of users and items that are filtered out go, too."
    )
    MAX_ITEM_LIST_LENGTH: int = option(
        50, "Items of a sequence that a sequential model reads, the latest ones.", low=1
    )


# Read by RecBole 1.2.1 and in none of its property files.
_UNLISTED_RECBOLE_KEYS = [
    "model",
    "dataset",
    "config_files",
    "config_file",
    "encoding",
    "nproc",
    "ip",
    "port",
    "world_size",
    "group_offset",
    "offset",
    "local_rank",
    "loss_type",
    "embedding_size",
    "reg_weight",
    "n_layers",
    "require_pow",
    "transform",
    "neg_sampling",
    "numerical_features",
    "discretization",
    "benchmark_filename",
    "additional_feat_suffix",
    "training_neg_sample_num",
    "MODEL_TYPE",
    "MODEL_INPUT_TYPE",
    "eval_type",
    "ENTITY_ID_FIELD",
    "log_wandb",
    "wandb_project",
    "gpu_id",
    "device",
    "single_spec",
    "tail_ratio",
]

# Pickled objects that RecBole would load without a look at where they come from.
_REFUSED = {
    "save_dataset": "a pickled data set",
    "dataset_save_path": "a pickled data set",
    "save_dataloaders": "pickled data loaders",
    "dataloaders_save_path": "pickled data loaders",
}


def refuse_pickles(values: dict[str, Any]) -> None:
    """Take the options that name pickled objects out of ``values``.

    Raises:
        OptionError: one of them is set.
    """
    for key, what in _REFUSED.items():
        if values.pop(key, None):
            raise OptionError(
                f"{key} is not supported: RecBole would load {what} without checking them; "
                "leave it out, reading the atomic files again takes seconds"
            )


@cache
def recbole_keys() -> frozenset[str]:
    """Every option of RecBole that belongs to no model."""
    keys = set(_UNLISTED_RECBOLE_KEYS)
    folder = recbole_dir() / "properties"
    for path in (folder / "overall.yaml", *sorted((folder / "dataset").glob("*.yaml"))):
        if "url" not in path.stem:
            keys |= set(read_yaml(path))
    text = (recbole_dir() / "utils" / "argument_list.py").read_text(encoding="utf-8")
    return frozenset(keys | set(re.findall(r"'(\w+)'", text)))


def check_recbole_values(values: dict[str, Any]) -> None:
    """Check RecBole's options in ``values`` beyond their types, and write them as RecBole does.

    Raises:
        OptionError: an option that RecBole would refuse late, or read in another way.
    """
    if isinstance(values.get("gpu_id"), list):
        values["gpu_id"] = ",".join(map(str, values["gpu_id"]))
    _check_metrics(values)
    _check_valid_metric(values)
    if "eval_args" in values:
        _check_eval_args(values["eval_args"])


@cache
def _metric_names() -> dict[str, str]:
    text = (recbole_dir() / "evaluator" / "metrics.py").read_text(encoding="utf-8")
    names = re.findall(r"^class (\w+)\((?:Topk|Loss|Abstract)Metric\)", text, re.M)
    return {name.lower(): name for name in names}


# RecBole's metrics of a whole list, or of predicted values: without a cut-off @k.
_WITHOUT_CUT = frozenset(["gauc", "auc", "mae", "rmse", "logloss"])


def _check_metrics(values: dict[str, Any]) -> None:
    if "topk" in values and not values["topk"]:
        raise OptionError("topk=[] names no cut-off: give one or more, such as topk=[10,20]")
    if "metrics" not in values:
        return
    metrics = values["metrics"]
    if isinstance(metrics, str):
        metrics = values["metrics"] = [metrics]
    if not isinstance(metrics, list) or not metrics:
        raise OptionError(f"metrics={metrics!r} must be a list of names, such as [Recall, NDCG]")
    for metric in metrics:
        _check_metric(str(metric), f"unknown metric '{metric}'")


def _check_metric(name: str, message: str) -> None:
    if name.lower() not in _metric_names():
        known = _metric_names().values()
        raise OptionError(f"{message}{nearest(name, known)}; there are {', '.join(known)}")


def _check_valid_metric(values: Mapping[str, Any]) -> None:
    if "valid_metric" not in values:
        return
    valid = values["valid_metric"]
    if not isinstance(valid, str):
        raise OptionError(f"valid_metric={valid!r} must be the name of a metric, as in Recall@20")
    name, at, cut = valid.partition("@")
    _check_metric(name, f"valid_metric '{valid}': unknown metric '{name}'")
    metrics = values.get("metrics") or []
    if metrics and name.lower() not in [str(m).lower() for m in metrics]:
        raise OptionError(
            f"valid_metric '{valid}' is not among metrics={metrics}: add {name} to metrics, or "
            "choose a valid_metric among them"
        )
    if name.lower() in _WITHOUT_CUT:
        if at:
            raise OptionError(f"valid_metric '{valid}': {name} has no cut-off, write {name}")
        return
    topk = values.get("topk") or []
    if not cut.isdigit():
        raise OptionError(
            f"valid_metric '{valid}' lacks a cut-off: write {name}@{max(topk, default=10)}"
        )
    if topk and int(cut) not in topk:
        raise OptionError(
            f"valid_metric '{valid}' is not among topk={topk}: add {cut} to topk, or set "
            f"valid_metric={name}@{max(topk)}"
        )


def _check_eval_args(eval_args: Mapping[str, Any]) -> None:
    known = ("split", "group_by", "order", "mode")
    for key in eval_args:
        if key not in known:
            raise OptionError(f"unknown key '{key}' in eval_args{nearest(str(key), known)}")
    order = eval_args.get("order", "RO")
    if order not in ("RO", "TO"):
        raise OptionError(f"eval_args: order={order!r} must be RO (random) or TO (by time)")
    group_by = eval_args.get("group_by", "user")
    if group_by is not None and str(group_by).lower() not in ("user", "none"):
        raise OptionError(f"eval_args: group_by={group_by!r} must be user or none")
    split = eval_args.get("split")
    if split is None:
        return
    ratios = split.get("RS") if isinstance(split, dict) else None
    leave_out = split.get("LS") if isinstance(split, dict) else None
    is_ratio = (
        isinstance(ratios, list)
        and len(ratios) == 3
        and all(isinstance(r, (int, float)) and r >= 0 for r in ratios)
        and sum(ratios) > 0
    )
    if not is_ratio and leave_out not in ("valid_and_test", "valid_only", "test_only"):
        raise OptionError(
            f"eval_args: split={split!r} must be {{'RS': [8,1,1]}}, the ratio of training, "
            "validation and test, or {'LS': 'valid_and_test'}, leave one out"
        )

"""What each option of RecBole does here: what has no effect is refused, in one line.

RecBole overwrites some of its options from others, and this package replaces a few of its parts; a
value that is given for those would change nothing, without a word.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Mapping
from logging import getLogger
from typing import Any

from recbole_darec.environment import recbole_dir
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options

__all__ = [
    "FOR_SEQUENCES",
    "REFUSED",
    "SMALLER",
    "WITH_KNOWLEDGE",
    "check_effects",
    "check_owner",
    "more_is_better",
    "read_by",
]

_BY_NPROC = "nproc says how many processes train together: leave it out"
_BY_RECBOLE = "RecBole sets it by itself: leave it out"
_PROPERTY_FILES = "name the property files with --config_files, or as config_file_list"

REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "offset": ((0,), "group_offset has taken its place"),
    "local_rank": ((0,), _BY_NPROC),
    "single_spec": ((True,), _BY_NPROC),
    "device": ((), "RecBole chooses it by gpu_id and use_gpu: give gpu_id=0, or use_gpu=False"),
    "eval_type": ((), "it follows from the metrics: leave it out"),
    "MODEL_TYPE": ((), _BY_RECBOLE),
    "MODEL_INPUT_TYPE": ((), _BY_RECBOLE),
    "neg_sampling": ((None,), "train_neg_sample_args has taken its place"),
    "training_neg_sample_num": (
        (None,),
        "train_neg_sample_args: {sample_num: …} has taken its place",
    ),
    "config_file": ((None,), _PROPERTY_FILES),
    "config_files": ((None,), _PROPERTY_FILES),
}
"""Options without an effect here: the values that change nothing in RecBole either, and why."""

SMALLER = frozenset(["averagepopularity", "giniindex", "logloss", "mae", "rmse"])
"""Metrics of which less is better, in lower case."""

FOR_SEQUENCES = frozenset(
    ["ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "MAX_ITEM_LIST_LENGTH", "POSITION_FIELD", "transform"]
)
"""RecBole's options that only sequential models read."""

WITH_KNOWLEDGE = frozenset(
    [
        "ENTITY_ID_FIELD",
        "HEAD_ENTITY_ID_FIELD",
        "RELATION_ID_FIELD",
        "TAIL_ENTITY_ID_FIELD",
        "alias_of_entity_id",
        "alias_of_relation_id",
        "entity_kg_num_interval",
        "kg_reverse_r",
        "relation_kg_num_interval",
    ]
)
"""RecBole's options that only its knowledge models read, none of which is a backbone."""

# Options that RecBole knows for all models, and that a model reads or does not.
_OF_MODELS = frozenset(["embedding_size", "loss_type", "n_layers", "reg_weight", "require_pow"])


def check_owner(
    name: str, layer: Mapping[str, Any], source: str, family: str, read: Collection[str]
) -> None:
    """Refuse an option of another family that is given for this run, or warn of another model's.

    Args:
        name: how the run's model is called in messages.
        layer: what was given.
        source: where, for the message.
        family: of the backbone.
        read: what :func:`read_by` returns.

    Raises:
        OptionError: in one line, with whose option it is.
    """
    for key in layer:
        owner = None
        if key in WITH_KNOWLEDGE:
            owner = "RecBole's knowledge models"
        elif key in FOR_SEQUENCES and family != "sequential":
            owner = "sequential models"
        elif key in _OF_MODELS and key not in read:
            # One list of options for several models is usual, and RecBole takes it.
            getLogger().warning(f"option '{key}' has no effect: {name} does not read it")
        if owner is not None:
            raise OptionError(
                f"option '{key}' on {source} belongs to {owner}: {name} does not read it"
            )


def more_is_better(metric: str) -> bool:
    """Tell whether more of a metric is better; its name may end in ``@k``."""
    return metric.partition("@")[0].lower() not in SMALLER


def check_effects(values: Mapping[str, Any]) -> None:
    """Refuse options of RecBole that would have no effect, or another one than it is thought.

    Raises:
        OptionError: in one line, with the option and the way out.
    """
    for key, (harmless, reason) in REFUSED.items():
        if key in values and not any(_same(values[key], value) for value in harmless):
            raise OptionError(f"{key}={values[key]} has no effect here: {reason}")
    valid = str(values.get("valid_metric", "")).partition("@")[0].lower()
    bigger = values.get("valid_metric_bigger")
    if bigger is not None and valid and bool(bigger) != more_is_better(valid):
        raise OptionError(
            f"valid_metric_bigger={bigger} has no effect: of {valid} "
            f"{'more' if more_is_better(valid) else 'less'} is better, and RecBole knows it"
        )
    tail = values.get("tail_ratio")
    if tail is not None and (
        isinstance(tail, bool) or not isinstance(tail, (int, float)) or tail <= 0
    ):
        raise OptionError(
            f"tail_ratio={tail!r} must be a share of the items such as 0.1, or above 1 the most "
            "interactions of an item of the tail"
        )
    if values.get("log_wandb") and importlib.util.find_spec("wandb") is None:
        raise OptionError("log_wandb=True needs the package 'wandb': pip install wandb")


def _same(given: Any, harmless: Any) -> bool:
    return type(given) is type(harmless) and given == harmless


def read_by(name: str, options: type[Options] | None) -> frozenset[str]:
    """Return those of RecBole's options for all models that a backbone reads.

    Args:
        name: of the backbone.
        options: the class of its options, which declares what one of ours reads; None for
            RecBole's own models, whose file says it.
    """
    found = set() if options is None else {*options.RECBOLE_DEFAULTS}
    for family in ("general_recommender", "sequential_recommender"):
        path = recbole_dir() / "model" / family / f"{name.lower()}.py"
        if path.is_file():
            found |= set(re.findall(r"""config\[["'](\w+)["']\]""", path.read_text("utf-8")))
    return frozenset(found & _OF_MODELS)

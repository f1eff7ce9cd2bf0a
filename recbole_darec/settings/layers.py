"""From files, dictionaries and the command line to the settings of one run.

Later layers win::

    RecBole's defaults < properties/overall.yaml < properties/model/<M>.yaml
    < properties/align/<A>.yaml < properties/dataset/<D>.yaml < the data set's own <D>.yaml
    < the preset < the user's files < config_dict < command line

Nothing here imports torch or RecBole: a mistake is answered in well under a second.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.backbones.registry import backbone_names, backbone_options, resolve_backbone
from recbole_darec.errors import DataError, OptionError, nearest
from recbole_darec.resources import properties_dir, recbole_dir
from recbole_darec.settings.options import (
    COMMON_OPTIONS,
    option,
    option_names,
    parse_options,
)

__all__ = ["Settings", "parse_value", "read_yaml", "resolve"]


@dataclass(frozen=True)
class Settings:
    """The settings of one run, checked.

    Attributes:
        model: exact name of the backbone.
        model_class: the class that the caller gave instead of a name, or None.
        dataset: name of the data set.
        align: name of the aligner.
        values: every option that is not RecBole's own default, plain values only.
    """

    model: str
    model_class: type | None
    dataset: str
    align: str
    values: dict[str, Any]


@dataclass(frozen=True)
class CheckedRecBoleOptions:
    """RecBole's own options that are worth a clear answer before RecBole is imported."""

    seed: int = option(2020, "", low=0, high=2**32 - 1)
    epochs: int = option(300, "", low=0)
    train_batch_size: int = option(2048, "", low=1)
    eval_batch_size: int = option(4096, "", low=1)
    learning_rate: float = option(0.001, "", above=0.0, high=1e6)
    eval_step: int = option(1, "", low=0)
    stopping_step: int = option(10, "", low=0)
    weight_decay: float = option(0.0, "", low=0.0)
    embedding_size: int = option(64, "", low=1)
    n_layers: int = option(2, "", low=0)
    reg_weight: float | None = option(0.0, "", low=0.0)
    topk: list[int] = option([10], "", low=1)
    metric_decimal_place: int = option(4, "", low=0, high=15)
    gpu_id: int | str | list[int] = option("0", "")
    worker: int = option(0, "", low=0)
    learner: str = option(
        "adam", "", choices=("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")
    )
    loss_decimal_place: int = option(4, "", low=0)
    show_progress: bool = option(True, "")
    use_gpu: bool = option(True, "")
    reproducibility: bool = option(True, "")
    shuffle: bool = option(True, "")
    enable_amp: bool = option(False, "")
    enable_scaler: bool = option(False, "")
    data_path: str = option("dataset/", "")
    checkpoint_dir: str = option("saved", "")
    eval_args: dict[str, Any] = option({}, "")
    clip_grad_norm: dict[str, Any] | None = option(None, "")


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
    "when",
]

# Pickled objects that RecBole would load without a look at where they come from.
_REFUSED = {
    "save_dataset": "a pickled data set",
    "dataset_save_path": "a pickled data set",
    "save_dataloaders": "pickled data loaders",
    "dataloaders_save_path": "pickled data loaders",
}


def resolve(
    model: Any = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge all layers into the checked settings of one run.

    Args:
        model: name or class of the backbone; wins over every layer.
        dataset: name of the data set; wins over every layer.
        config_file_list: the user's property files, later ones win.
        config_dict: options from code or from hyper-tuning.
        command_line: options from the command line.

    Raises:
        OptionError: an option, model, aligner or file is unknown or malformed.
        DataError: the data set is nowhere to be found.
    """
    files = [(str(path), read_yaml(path)) for path in config_file_list or []]
    from_code = {k: _plain(k, v) for k, v in (config_dict or {}).items()}
    from_command = dict(command_line or {})
    user_layers = [layer for _, layer in files] + [from_code, from_command]

    model_class = model if isinstance(model, type) else None
    name = _named("model", None if model_class else model, user_layers, model_class is not None)
    if model_class is not None:
        name = _class_backbone_name(model_class)
    elif name is not None:
        name = resolve_backbone(name)
    data = _named("dataset", dataset, user_layers, False)
    if name is None:
        raise OptionError("no model given: add --model=LightGCN, or model: in a config file")
    if data is None:
        raise OptionError("no data set given: add --dataset=NAME, or dataset: in a config file")

    below: list[tuple[str, dict[str, Any]]] = []
    for path in _property_files("overall.yaml", f"model/{name}.yaml"):
        below.append((str(path), read_yaml(path)))
    n_first = len(below)
    for path in _property_files(f"dataset/{data}.yaml"):
        below.append((str(path), read_yaml(path)))
    data_path = str(_last("data_path", [v for _, v in below] + user_layers, "dataset/"))
    folder = data_folder(data_path, data)
    own = folder / f"{data}.yaml"
    if own.is_file():
        below.append((str(own), read_yaml(own)))
    preset = _last("preset", [v for _, v in below] + user_layers, None)
    if preset is not None:
        path = _preset_file(str(preset))
        below.append((str(path), read_yaml(path)))
    align = _last("align", [layer for _, layer in below] + user_layers, "darec")
    fixed = getattr(model_class, "align_method", None)
    if fixed is not None:
        align = fixed
    if align is None or align is False:
        align = "none"
    method = aligner_class(str(align))
    # Any layer may name the aligner, whose own file stands between the model's and the data set's.
    for path in _property_files(f"align/{align}.yaml"):
        below.insert(n_first, (str(path), read_yaml(path)))

    values: dict[str, Any] = {}
    common = _common_keys(name)
    for source, layer in [*below, *files]:
        layer = _with_conditions(layer, name, data, str(align), source)
        if model_class is None:  # a caller's own class may have options that nobody declared
            _check_file_keys(layer, common, source)
        values.update(layer)
    for source, layer in (("config_dict", from_code), ("the command line", from_command)):
        if model_class is None:
            _check_direct_keys(layer, common, method, str(align), source)
        values.update(layer)

    for key, what in _REFUSED.items():
        if values.pop(key, None):
            raise OptionError(
                f"{key} is not supported: RecBole would load {what} without checking them; "
                "leave it out, reading the atomic files again takes seconds"
            )
    values.pop("model", None)
    values.pop("dataset", None)
    values["align"] = str(align)
    _check_values(values, name, method)
    if not folder.is_dir():
        raise _unknown_dataset(data, data_path)
    return Settings(name, model_class, data, str(align), values)


def data_folder(data_path: str, dataset: str) -> Path:
    """Return the folder of a data set's atomic files.

    RecBole reads ``ml-100k`` from its own package whatever ``data_path`` says; so do we, unless
    ``data_path`` has that folder (a user's own copy).
    """
    folder = Path(data_path) / dataset
    if dataset == "ml-100k" and not folder.is_dir():
        return recbole_dir() / "dataset_example" / dataset
    return folder


def read_yaml(path: Any) -> dict[str, Any]:
    """Read one property file.

    Raises:
        OptionError: the file is missing, is not YAML, or is not a mapping of options.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionError(f"config file '{path}' does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"config file '{path}' cannot be read: {error}") from None
    try:
        content = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}," if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error) or "no problem named"
        raise OptionError(
            f"config file '{path}'{place} is not valid YAML ({problem}); write one "
            "'option: value' a line"
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(
            f"config file '{path}' holds a {type(content).__name__}; it must be a mapping, "
            "one 'option: value' a line"
        )
    for key, value in content.items():
        try:
            content[key] = _without_tuples(value)
        except TypeError as error:
            raise OptionError(
                f"config file '{path}': {key} holds a {error}; give text, numbers, lists or "
                "mappings"
            ) from None
    return {str(key): value for key, value in content.items()}


def parse_value(text: str) -> Any:
    """Return the value that a command-line text stands for (number, list, dict, null, text)."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text in ("None", "null", "~"):
        return None
    try:
        return _without_tuples(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    if text[:1] in ("[", "{"):
        try:
            return _without_tuples(yaml.load(text, Loader=_Loader))
        except (yaml.YAMLError, ValueError, RecursionError, TypeError):
            return text
    return text


def _without_tuples(value: Any) -> Any:
    """Return a Python literal with lists for its tuples; raise TypeError for a set and the like."""
    if isinstance(value, (list, tuple)):
        return [_without_tuples(v) for v in value]
    if isinstance(value, dict):
        return {key: _without_tuples(v) for key, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(type(value).__name__)


class _Loader(yaml.SafeLoader):
    """Safe YAML with RecBole's reading of numbers (1e-5 is a float), and dates left as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own attribute, copied to be changed)
        first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def _plain(key: str, value: Any) -> Any:
    """Return a value of ``config_dict`` as plain Python; hyper-tuning gives NumPy and text."""
    if isinstance(value, str):
        return value if key in ("model", "dataset", "align") else parse_value(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple):
        return [_plain("", v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        return value
    raise OptionError(f"config_dict['{key}'] is a {type(value).__name__}; give plain values")


def _last(key: str, layers: Iterable[Mapping[str, Any]], default: Any) -> Any:
    found = default
    for layer in layers:
        if layer.get(key) is not None or (key == "align" and key in layer):
            found = layer[key]
    return found


def _named(
    key: str, argument: Any, layers: Sequence[Mapping[str, Any]], has_class: bool
) -> str | None:
    if has_class:
        return None
    value = argument if argument is not None else _last(key, layers, None)
    if value is not None and not isinstance(value, (str, int)):
        raise OptionError(f"{key}={value!r} must be a name")
    return None if value in (None, "") else str(value)


def _class_backbone_name(cls: type) -> str:
    """The name under which RecBole knows a class: that of its first parent that is no mixin."""
    for parent in cls.__mro__:
        if "align_method" not in dir(parent):
            return parent.__name__
    return cls.__name__


def _property_files(*names: str) -> list[Path]:
    paths = [properties_dir() / name for name in names]
    return [path for path in paths if path.is_file()]


def _preset_file(preset: str) -> Path:
    folder = properties_dir() / "preset"
    path = folder / f"{preset}.yaml"
    if path.is_file():
        return path
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    raise OptionError(f"unknown preset '{preset}'{nearest(preset, known)}; known: {known}")


def _with_conditions(
    layer: Mapping[str, Any], model: str, dataset: str, align: str, source: str
) -> dict[str, Any]:
    """Apply a file's ``when`` entries: options for some models, data sets or aligners only."""
    merged = {key: value for key, value in layer.items() if key != "when"}
    here = {"model": model, "dataset": dataset, "align": align}
    entries = layer.get("when") or []
    if not isinstance(entries, list):
        raise OptionError(
            f"{source}: 'when' is a list of entries, one '- {{model: M, set: …}}' each"
        )
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("set"), dict):
            raise OptionError(f"{source}: each entry of 'when' is a mapping with a 'set' mapping")
        conditions = {k: v for k, v in entry.items() if k != "set"}
        for key in conditions:
            if key not in here:
                raise OptionError(f"{source}: 'when' knows model, dataset and align, not '{key}'")
        if all(
            here[key] in (wanted if isinstance(wanted, list) else [wanted])
            for key, wanted in conditions.items()
        ):
            merged.update(entry["set"])
    return merged


@cache
def _recbole_keys() -> frozenset[str]:
    """Every option of RecBole that belongs to no model."""
    keys = set(_UNLISTED_RECBOLE_KEYS)
    folder = recbole_dir() / "properties"
    for path in (folder / "overall.yaml", *sorted((folder / "dataset").glob("*.yaml"))):
        if "url" not in path.stem:
            keys |= set(read_yaml(path))
    text = (recbole_dir() / "utils" / "argument_list.py").read_text(encoding="utf-8")
    return frozenset(keys | set(re.findall(r"'(\w+)'", text)))


def _recbole_model_keys(model: str) -> set[str]:
    path = recbole_dir() / "properties" / "model" / f"{model}.yaml"
    return set(read_yaml(path)) if path.is_file() else set()


def _common_keys(model: str) -> set[str]:
    keys = set(_recbole_keys()) | _recbole_model_keys(model) | set(option_names(*COMMON_OPTIONS))
    group = backbone_options(model)
    if group is not None:
        keys |= set(option_names(group))
    return keys


def _aligner_keys() -> dict[str, set[str]]:
    return {name: set(option_names(aligner_class(name).Options)) for name in aligner_names()}


def _check_file_keys(layer: Mapping[str, Any], common: set[str], source: str) -> None:
    """A file may hold options of several models and aligners; only unknown ones are errors."""
    unknown = [k for k in layer if k not in common]
    if not unknown:
        return
    known = set(common).union(*_aligner_keys().values())
    if any(k not in known for k in unknown):
        for model in backbone_names():
            known |= _recbole_model_keys(model)
            group = backbone_options(model)
            if group is not None:
                known |= set(option_names(group))
    for key in unknown:
        if key not in known:
            raise OptionError(f"unknown option '{key}' in {source}{nearest(key, known)}")


def _check_direct_keys(
    layer: Mapping[str, Any], common: set[str], method: Any, align: str, source: str
) -> None:
    """An option given for this run must be one of this run's model and aligner."""
    keys = _aligner_keys()
    known = common | set(option_names(method.Options))
    if align == "none":
        # The backbone alone is the control of every aligner: the same command, one word changed.
        known = known.union(*keys.values())
    for key in layer:
        if key in known:
            continue
        owners = [name for name, names in keys.items() if key in names]
        if owners:
            *others, last = (f"--align={name}" for name in owners)
            named = f"{', '.join(others)} and {last}" if others else last
            raise OptionError(f"option '{key}' on {source} belongs to {named}, not to {align}")
        raise OptionError(f"unknown option '{key}' on {source}{nearest(key, known)}")


@cache
def _metric_names() -> dict[str, str]:
    text = (recbole_dir() / "evaluator" / "metrics.py").read_text(encoding="utf-8")
    names = re.findall(r"^class (\w+)\((?:Topk|Loss|Abstract)Metric\)", text, re.M)
    return {name.lower(): name for name in names}


# RecBole's metrics of a whole list, or of predicted values: without a cut-off @k.
_WITHOUT_CUT = frozenset(["gauc", "auc", "mae", "rmse", "logloss"])


def _check_values(values: dict[str, Any], model: str, method: Any) -> None:
    groups = [*COMMON_OPTIONS, method.Options, CheckedRecBoleOptions]
    group = backbone_options(model)
    if group is not None:
        groups.append(group)
    if isinstance(values.get("learner"), str):
        values["learner"] = values["learner"].lower()  # as RecBole reads it
    for one in groups:
        checked = parse_options(one, values)
        for field in dataclasses.fields(checked):
            if field.name in values:
                values[field.name] = getattr(checked, field.name)
    if isinstance(values.get("gpu_id"), list):
        values["gpu_id"] = ",".join(map(str, values["gpu_id"]))
    _check_metrics(values)
    _check_valid_metric(values)
    if "eval_args" in values:
        _check_eval_args(values["eval_args"])


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


def _unknown_dataset(dataset: str, data_path: str) -> DataError:
    root = Path(data_path)
    known = ["ml-100k"]
    if root.is_dir():
        known += sorted(p.name for p in root.iterdir() if p.is_dir())
    return DataError(
        f"unknown data set '{dataset}'{nearest(dataset, known)}: there is no folder "
        f"'{root / dataset}'; bring it in with 'recbole-darec import' or 'prepare', "
        "or set data_path"
    )

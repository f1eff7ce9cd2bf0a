"""From files, dictionaries and the command line to the settings of one run.

Later layers win::

    RecBole's defaults < the methods' own < properties/overall.yaml < properties/family/<F>.yaml
    < properties/model/<M>.yaml < properties/align/<A>.yaml < properties/dataset/<D>.yaml
    < the data set's own <D>.yaml < the preset < the user's files < config_dict < command line

Nothing here imports torch or RecBole: a mistake is answered in well under a second.  Which
backbones and aligners there are is handed in; :func:`recbole_darec.resolve.resolve` does so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_darec.environment import recbole_dir
from recbole_darec.errors import DataError, OptionError, nearest
from recbole_darec.resources import properties_dir
from recbole_darec.settings.effects import check_effects, check_owner, read_by
from recbole_darec.settings.families import check_family
from recbole_darec.settings.known_names import KnownNames
from recbole_darec.settings.options import Options, option_names
from recbole_darec.settings.recbole_options import check_recbole_values, refuse_pickles
from recbole_darec.settings.run_settings import Methods, Settings, make_settings
from recbole_darec.settings.values import plain_value, read_yaml

__all__ = ["data_folder", "merge", "with_conditions"]


def merge(
    model: Any,
    dataset: str | None,
    config_file_list: Sequence[str] | None,
    config_dict: Mapping[str, Any] | None,
    command_line: Mapping[str, Any] | None,
    *,
    backbones: Methods,
    aligners: Methods,
) -> Settings:
    """Merge all layers into the checked settings of one run.

    Args:
        model: name or class of the backbone; wins over every layer.
        dataset: name of the data set; wins over every layer.
        config_file_list: the user's property files, later ones win.
        config_dict: options from code or from hyper-tuning.
        command_line: options from the command line.
        backbones: what ``model`` may name.
        aligners: what ``align`` may name.

    Raises:
        OptionError: an option, model, aligner or file is unknown or malformed.
        DataError: the data set is nowhere to be found.
    """
    files = [(str(path), read_yaml(path)) for path in config_file_list or []]
    from_code = {k: plain_value(k, v) for k, v in (config_dict or {}).items()}
    from_command = dict(command_line or {})
    given = [layer for _, layer in files] + [from_code, from_command]

    model_class = model if isinstance(model, type) else None
    name, data = _backbone(model, given, backbones), _named("dataset", dataset, given)
    if data is None:
        raise OptionError("no data set given: add --dataset=NAME, or dataset: in a config file")
    family = backbones.family(name, model_class)
    of_model = _read(_property_files("overall.yaml", f"family/{family}.yaml", f"model/{name}.yaml"))
    of_data = _read(_property_files(f"dataset/{data}.yaml"))
    data_path = str(_last("data_path", [*_contents(of_model, of_data), *given], "dataset/"))
    folder = data_folder(data_path, data)
    of_data += _read(path for path in [folder / f"{data}.yaml"] if path.is_file())
    preset = _last("preset", [*_contents(of_model, of_data), *given], None)
    if preset is not None:
        of_data += _read([_preset_file(str(preset))])
    # Any layer may name the aligner, whose own file stands between the model's and the data set's.
    align = _aligner(model_class, [*_contents(of_model, of_data), *given], aligners)
    of_aligner = _read(_property_files(f"align/{align}.yaml"))

    backbone_options, aligner_options = _option_classes(
        name, model_class, align, backbones, aligners
    )
    values = {**_defaults(backbone_options), **_defaults(aligner_options)}
    known = KnownNames(name, align, backbone_options, aligner_options, backbones, aligners, family)
    here = {"family": family, "model": name, "dataset": data, "align": align}
    read = read_by(name, backbone_options)
    # A caller's own class may have options that nobody declared.
    checked = model_class is None
    for source, layer in [*of_model, *of_aligner, *of_data, *files]:
        layer = with_conditions(layer, here, source)
        if checked:
            known.check_file(layer, source)
        values.update(layer)
    for source, layer in (("config_dict", from_code), ("the command line", from_command)):
        if checked:
            known.check_direct(layer, source)
            check_owner(name, layer, source, family, read)
        values.update(layer)

    refuse_pickles(values)
    values.pop("model", None)
    values.pop("dataset", None)
    values["align"] = align
    settings = make_settings(
        name, model_class, data, align, values, aligner_options, backbone_options, family
    )
    check_recbole_values(settings.values)
    check_effects(settings.values)
    check_family(settings)
    if not folder.is_dir():
        raise _unknown_dataset(data, data_path)
    return settings


def data_folder(data_path: str, dataset: str) -> Path:
    """Return the folder of a data set's atomic files.

    RecBole reads ``ml-100k`` from its own package whatever ``data_path`` says; so do we, unless
    ``data_path`` has that folder (a user's own copy).
    """
    folder = Path(data_path) / dataset
    if dataset == "ml-100k" and not folder.is_dir():
        return recbole_dir() / "dataset_example" / dataset
    return folder


# ---- what is chosen --------------------------------------------------------------------------


def _backbone(model: Any, layers: Sequence[Mapping[str, Any]], backbones: Methods) -> str:
    if isinstance(model, type):
        return _class_backbone_name(model)
    name = _named("model", model, layers)
    if name is None:
        raise OptionError("no model given: add --model=LightGCN, or model: in a config file")
    return backbones.exact(name)


def _aligner(
    model_class: type | None, layers: Iterable[Mapping[str, Any]], aligners: Methods
) -> str:
    align = getattr(model_class, "align_method", None)  # a class may fix it
    if align is None:
        align = _last("align", layers, "darec")
    return aligners.exact("none" if align is None or align is False else str(align))


def _option_classes(
    name: str, model_class: type | None, align: str, backbones: Methods, aligners: Methods
) -> tuple[type[Options] | None, type[Options]]:
    """Return the classes of the backbone's and of the aligner's options."""
    own = getattr(model_class, "Options", None)
    is_own = isinstance(own, type) and issubclass(own, Options)
    return own if is_own else backbones.options(name), aligners.options(align) or Options


def _last(key: str, layers: Iterable[Mapping[str, Any]], default: Any) -> Any:
    found = default
    for layer in layers:
        if layer.get(key) is not None or (key == "align" and key in layer):
            found = layer[key]
    return found


def _named(key: str, argument: Any, layers: Sequence[Mapping[str, Any]]) -> str | None:
    value = argument if argument is not None else _last(key, layers, None)
    if value is not None and not isinstance(value, (str, int)):
        raise OptionError(f"{key}={value!r} must be a name")
    return None if value in (None, "") else str(value)


def _class_backbone_name(cls: type) -> str:
    """Return the name by which RecBole knows a class: of its first parent that is no mixin."""
    for parent in cls.__mro__:
        if "align_method" not in dir(parent):
            return parent.__name__
    return cls.__name__


# ---- layers ----------------------------------------------------------------------------------


def _defaults(group: type[Options] | None) -> dict[str, Any]:
    """Return what a method sets where no file does: RecBole's options first, then its own."""
    if group is None:
        return {}
    own = {
        name: group.model_fields[name].get_default(call_default_factory=True)
        for name in option_names(group)
    }
    return {**group.RECBOLE_DEFAULTS, **own}


def _property_files(*names: str) -> list[Path]:
    paths = [properties_dir() / name for name in names]
    return [path for path in paths if path.is_file()]


def _read(paths: Iterable[Path]) -> list[tuple[str, dict[str, Any]]]:
    return [(str(path), read_yaml(path)) for path in paths]


def _contents(*layers: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [content for several in layers for _, content in several]


def _preset_file(preset: str) -> Path:
    folder = properties_dir() / "preset"
    path = folder / f"{preset}.yaml"
    if path.is_file():
        return path
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    raise OptionError(f"unknown preset '{preset}'{nearest(preset, known)}; known: {known}")


def with_conditions(
    layer: Mapping[str, Any], here: Mapping[str, str], source: str
) -> dict[str, Any]:
    """Apply a file's ``when`` entries: options for some models, data sets or aligners only.

    Args:
        layer: what the file holds.
        here: the run's family, model, data set and aligner, which the entries ask for.
        source: the file, for messages.
    """
    merged = {key: value for key, value in layer.items() if key != "when"}
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
                raise OptionError(f"{source}: 'when' knows {', '.join(here)}, not '{key}'")
        if all(
            here[key] in (wanted if isinstance(wanted, list) else [wanted])
            for key, wanted in conditions.items()
        ):
            merged.update(entry["set"])
    return merged


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

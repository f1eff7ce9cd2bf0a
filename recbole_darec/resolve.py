"""From what a user gives to the settings of one run: the registries meet the layers.

Imports neither torch nor RecBole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_darec.alignment.registry import aligner_names, aligner_options, resolve_aligner
from recbole_darec.backbones.registry import (
    BACKBONES,
    backbone_family,
    backbone_names,
    backbone_options,
    read_options,
    resolve_backbone,
)
from recbole_darec.settings.layers import merge
from recbole_darec.settings.options import Options, option_names
from recbole_darec.settings.run_options import COMMON_OPTIONS, FAMILY_OPTIONS
from recbole_darec.settings.run_settings import Methods, Settings, make_settings

__all__ = ["option_groups", "resolve", "restore"]

_BACKBONES = Methods(backbone_names, resolve_backbone, backbone_options, backbone_family)
_ALIGNERS = Methods(aligner_names, resolve_aligner, aligner_options)


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
    return merge(
        model,
        dataset,
        config_file_list,
        config_dict,
        command_line,
        backbones=_BACKBONES,
        aligners=_ALIGNERS,
    )


def restore(model: Any, dataset: str, align: str, values: Mapping[str, Any]) -> Settings:
    """Return the settings that were resolved elsewhere: no layer is read again.

    Args:
        model: exact name of the backbone, or its class.
        dataset: name of the data set.
        align: name of the aligner.
        values: ``Settings.values``.
    """
    if isinstance(model, type):
        given = {"align": align, "data_path": values.get("data_path", "dataset/")}
        return resolve(model, dataset, None, given).with_values(values)
    return make_settings(
        model,
        None,
        dataset,
        align,
        dict(values),
        aligner_options(align),
        backbone_options(model),
        backbone_family(model),
    )


def option_groups() -> dict[str, list[type[Options]]]:
    """Return the option classes of this package by whose they are, such as ``--align=darec``."""
    groups: dict[str, list[type[Options]]] = {"every run": list(COMMON_OPTIONS)}
    for family, shared in FAMILY_OPTIONS.items():
        groups[f"every {family} model"] = [shared]
    for name, location in BACKBONES.items():
        groups[f"--model={name}"] = [read_options(location)]
    for name in aligner_names():
        if option_names(aligner_options(name)):
            groups[f"--align={name}"] = [aligner_options(name)]
    return groups

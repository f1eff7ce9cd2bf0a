"""Options of RecBole that name columns: a name that is in no file is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_darec.errors import DataError, nearest, some

__all__ = ["check_loaded_columns", "check_named_columns"]

_FILES = ("user", "item")  # beside the interactions


def check_loaded_columns(config: Any, folder: Path, header_of: Callable[[Path], list[str]]) -> None:
    """Check the columns that ``load_col`` and ``unload_col`` name against the files' headers.

    RecBole reads the columns that it finds, and no others without a word.

    Args:
        config: RecBole's configuration.
        folder: of the data set.
        header_of: returns the names of an atomic file's columns.

    Raises:
        DataError: a file or a column is not there.
    """
    name = config["dataset"]
    parts = config["benchmark_filename"]
    inter = [f"{name}.inter"] if parts is None else [f"{name}.{part}.inter" for part in parts]
    files = {"inter": [folder / file for file in inter]}
    for suffix in (*_FILES, *(config["additional_feat_suffix"] or ())):
        files[suffix] = [folder / f"{name}.{suffix}"]
    for option in ("load_col", "unload_col"):
        for suffix, columns in (config[option] or {}).items():
            if columns == "*":
                continue
            if not _are_names(columns):
                raise DataError(f"{option}: {suffix}={columns!r} must list columns, or be '*'")
            if suffix not in files:
                raise DataError(
                    f"{option}: no file '{name}.{suffix}' is read{nearest(suffix, files)}; there "
                    f"are {', '.join(files)}, and additional_feat_suffix names more"
                )
            for path in files[suffix]:
                if not path.is_file():
                    raise DataError(f"{option}: data file '{path}' does not exist")
                _known(columns, header_of(path), f"{option}: data file '{path}'")


def check_named_columns(config: Any, types: Mapping[str, Any], feats: Mapping[str, Any]) -> None:
    """Check the options that name columns against the columns that were read.

    Args:
        config: RecBole's configuration.
        types: the columns and their types (RecBole's ``field2type``).
        feats: the tables by ``inter``, ``user``, ``item`` and further endings.

    Raises:
        DataError: a column is not there, or of a type on which the option has no effect.
    """
    for option, kinds in _OPTIONS.items():
        named = config[option] or ()
        _known(named, types, f"{option}: the data set", kinds)
    aliases = {*(config["alias_of_user_id"] or ()), *(config["alias_of_item_id"] or ())}
    own = {config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], *aliases}
    for suffix in config["additional_feat_suffix"] or ():
        for name in feats[suffix].columns:
            # RecBole numbers the ids of such a file with those that they stand for, or not at all.
            if types[name].value.startswith("token") and name not in own:
                raise DataError(
                    f"additional_feat_suffix: the .{suffix} file's column '{name}' holds ids or "
                    "words: say whose ids they are with alias_of_item_id or alias_of_user_id"
                )
    for suffix, columns in (config["unused_col"] or {}).items():
        if suffix not in feats:
            raise DataError(f"unused_col: no file ends in .{suffix}; there are {', '.join(feats)}")
        _known(columns, feats[suffix].columns, f"unused_col: the .{suffix} file")


_NUMBERS = ("float", "float_seq")
_OPTIONS: Mapping[str, Collection[str]] = {
    "alias_of_user_id": ("token", "token_seq"),
    "alias_of_item_id": ("token", "token_seq"),
    "seq_len": ("token_seq", "float_seq"),
    "normalize_field": _NUMBERS,
    "numerical_features": _NUMBERS,
    "discretization": _NUMBERS,
    "threshold": (),
    "val_interval": (),
    "preload_weight": (),
}
"""The options whose names are columns, and the types on which they act; all, where none is said."""


def _known(
    named: Iterable[str],
    columns: Iterable[str] | Mapping[str, Any],
    where: str,
    kinds: Collection[str] = (),
) -> None:
    there = list(columns)
    for name in named:
        if name not in there:
            raise DataError(
                f"{where} has no column '{name}'{nearest(name, there)} (it has {some(there, 12)})"
            )
        if kinds and isinstance(columns, Mapping) and columns[name].value not in kinds:
            raise DataError(
                f"{where} has '{name}' as {columns[name].value}, and only {' or '.join(kinds)} "
                "columns are meant"
            )


def _are_names(columns: Any) -> bool:
    return isinstance(columns, (list, tuple)) and all(isinstance(name, str) for name in columns)

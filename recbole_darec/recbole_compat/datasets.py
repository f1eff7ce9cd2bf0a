"""RecBole's data sets, splits and loaders."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.data.utils import create_samplers, get_dataloader
from recbole.trainer import TraditionalTrainer
from recbole.utils import ModelType, get_trainer

from recbole_darec.data.splits import Split
from recbole_darec.errors import DataError, OptionError
from recbole_darec.recbole_compat.cold_items import HeldOut, hold_items_out
from recbole_darec.recbole_compat.fast_data import FastData, sampling_from_arrays
from recbole_darec.recbole_compat.fast_loader import sooner
from recbole_darec.recbole_compat.fields import check_loaded_columns, check_named_columns
from recbole_darec.recbole_compat.reconcile import reconcile
from recbole_darec.recbole_compat.sequences import check_times, split_in_time
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions

__all__ = [
    "evaluation_loader",
    "load_dataset",
    "recbole_trainer",
    "split_dataset",
    "training_loader",
]


def load_dataset(config: Any) -> Any:
    """Return RecBole's data set for a configuration, filtered and remapped, not yet split.

    Works around: ``create_dataset`` unpickles ``saved/<ds>-Dataset.pth`` if there is one, without a
    check of the data; a missing folder makes RecBole try a download; and an id that pandas reads as
    missing becomes the padding's id in a fixed split, or loses its interactions.

    Raises:
        DataError: an atomic file is missing or malformed.
    """
    reconcile()
    folder, name = Path(config["data_path"]), config["dataset"]
    parts = config["benchmark_filename"]
    names = [f"{name}.inter"] if parts is None else [f"{name}.{part}.inter" for part in parts]
    if parts is not None and len(parts) != 3:
        raise DataError(f"benchmark_filename={parts} must name training, validation and test")
    for file in names:
        _check_inter_file(folder / file, config)
    check_loaded_columns(config, folder, lambda path: _header(path, config)[0])
    module = importlib.import_module("recbole.data.dataset")
    kinds = {
        ModelType.SEQUENTIAL: "SequentialDataset",
        ModelType.KNOWLEDGE: "KnowledgeBasedDataset",
    }
    default = kinds.get(config["MODEL_TYPE"], "Dataset")
    dataset_class = getattr(module, f"{config['model']}Dataset", None) or getattr(module, default)
    if _in_time(config):
        dataset_class = module.Dataset
    complete = type(dataset_class.__name__, (_CompleteIds, FastData, dataset_class), {})
    try:
        dataset = complete(config)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if "feat is empty" in str(error):
            raise _nothing_left(name) from error
        raise DataError(
            f"data set '{name}' in '{folder}' cannot be read: {type(error).__name__}: {error}"
        ) from error
    if len(dataset.inter_feat) == 0:
        raise _nothing_left(name)
    return dataset


def _nothing_left(name: str) -> DataError:
    return DataError(
        f"data set '{name}': no interaction is left after filtering; check "
        "user_inter_num_interval, item_inter_num_interval and val_interval"
    )


def _in_time(config: Any) -> bool:
    """Tell whether a run of ours is sequential: its rows are windows over plain interactions."""
    return getattr(getattr(config, "settings", None), "family", None) == "sequential"


class _CompleteIds:
    """Mixin over a RecBole data set that refuses interactions without user or item.

    Attributes:
        held_out: the interactions of the items that ``cold_items`` holds out, or None.
    """

    uid_field: str
    iid_field: str
    field2type: Any
    inter_feat: Any
    benchmark_filename_list: Any
    file_size_list: Any
    config: Any
    held_out: HeldOut | None

    def _init_alias(self) -> None:
        # The first thing that RecBole does with the columns that it read.
        names = self._build_feat_name_list()  # type: ignore[attr-defined]
        feats = {name.removesuffix("_feat"): getattr(self, name) for name in names}
        check_named_columns(self.config, self.field2type, feats)
        super()._init_alias()  # type: ignore[misc]

    def _data_processing(self) -> None:
        if _in_time(self.config):
            check_times(self, self.inter_feat, self.config["dataset"])
        for field in (self.uid_field, self.iid_field):
            missing = np.flatnonzero(self.inter_feat[field].isnull().to_numpy())
            if missing.size:
                path, line = self._place(int(missing[0]))
                raise DataError(
                    f"data file '{path}', line {line}: no {field} ({missing.size:,} such rows; an "
                    "empty cell, NA, NULL and NaN read as missing): mend the row or rename the id"
                )
        run = options_from_config(RunOptions, self.config)
        self.held_out = None
        if run.cold_items:
            self.held_out = hold_items_out(self, run.cold_items, run.cold_items_seed)
        super()._data_processing()  # type: ignore[misc]

    def _place(self, row: int) -> tuple[Path, int]:
        """Return the file of an interaction, and its line there."""
        folder, name = Path(self.config["data_path"]), self.config["dataset"]
        if self.benchmark_filename_list is None:
            return folder / f"{name}.inter", row + 2
        ends = np.cumsum(self.file_size_list)
        part = int(np.searchsorted(ends, row, side="right"))
        first = int(ends[part - 1]) if part else 0
        return folder / f"{name}.{self.benchmark_filename_list[part]}.inter", row - first + 2


def _check_inter_file(path: Path, config: Any) -> None:
    if not path.is_file():
        raise DataError(
            f"data file '{path}' does not exist; an atomic .inter file with the columns "
            f"{config['USER_ID_FIELD']}:token and {config['ITEM_ID_FIELD']}:token is needed"
        )
    names, first = _header(path, config)
    for field in (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]):
        if field not in names:
            raise DataError(
                f"data file '{path}' has no column '{field}' (it has {', '.join(names)}); rename "
                "it, or set USER_ID_FIELD and ITEM_ID_FIELD"
            )
    loaded, time_field = (config["load_col"] or {}).get("inter"), config["TIME_FIELD"]
    by_time = config["eval_args"]["order"] == "TO" and config["benchmark_filename"] is None
    if by_time and not _in_time(config) and time_field not in _read(names, loaded):
        way_out = "add it to load_col" if time_field in names else "set TIME_FIELD to one, or RO"
        raise DataError(
            f"eval_args: order=TO is by time, and no column '{time_field}' of '{path}' is read: "
            f"{way_out}"
        )
    if not first.strip():
        raise DataError(f"data file '{path}' holds a header and no interaction")


def _read(names: list[str], loaded: Any) -> list[str]:
    return names if loaded in (None, "*") else list(loaded)


def _header(path: Path, config: Any) -> tuple[list[str], str]:
    """Return the names of an atomic file's columns, and its first row."""
    try:
        with path.open(encoding=config["encoding"] or "utf-8") as file:
            header, first = file.readline().rstrip("\r\n"), file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data file '{path}' cannot be read: {error}") from None
    if not header:
        raise DataError(f"data file '{path}' is empty; its first line must name the columns")
    columns = header.split(config["field_separator"])
    if not all(":" in column for column in columns):
        raise DataError(
            f"data file '{path}' has no header: its first line is '{header[:60]}', and must name "
            f"the columns, as in '{config['USER_ID_FIELD']}:token\t{config['ITEM_ID_FIELD']}:token'"
        )
    return [column.split(":")[0] for column in columns], first


def split_dataset(config: Any, dataset: Any) -> tuple[list[Any], Split | None]:
    """Return the training, validation and test parts, and the split if a seed of its own drew it.

    Works around: RecBole draws a ratio split from the training seed, so that runs with several
    seeds are measured on several test sets, and profiles made from one training part leak into
    another. With ``split_seed`` the split is that number's, whatever ``seed`` is.

    Raises:
        DataError: a part is empty.
    """
    split = None
    if _in_time(config):
        split_in_time(dataset, config["dataset"])
    else:
        split = _fixed_split(config, dataset)
    if split is not None:
        frame = dataset.inter_feat
        labels = split.parts(frame[dataset.uid_field].to_numpy())
        # RecBole takes consecutive rows as the parts, as it does with three files.
        order = np.argsort(labels, kind="stable")
        dataset.inter_feat = frame.iloc[order].reset_index(drop=True)
        dataset.benchmark_filename_list = ["train", "valid", "test"]
        dataset.file_size_list = np.bincount(labels, minlength=3).tolist()
    parts = dataset.build()
    for part, kind in zip(parts, ("training", "validation", "test")):
        if len(part.inter_feat) == 0:
            raise DataError(
                f"the {kind} part of data set '{config['dataset']}' is empty; give it another "
                "split (eval_args), or more interactions a user"
            )
    return list(parts), split


def _fixed_split(config: Any, dataset: Any) -> Split | None:
    """Return the split that ``split_seed`` draws, None where it draws none."""
    seed = options_from_config(RunOptions, config).split_seed
    if seed is None or dataset.benchmark_filename_list is not None:
        return None
    args = config["eval_args"]
    split = Split.from_eval_args(args, seed=seed, interactions=len(dataset.inter_feat))
    if split is None:
        raise OptionError(f"split_seed goes with a ratio split of three parts, not {args['split']}")
    return split


def training_loader(config: Any, dataset: Any, parts: list[Any]) -> tuple[Any, Any, Any]:
    """Return RecBole's training loader and its validation and test samplers."""
    try:
        with sampling_from_arrays():
            train, valid, test = create_samplers(config, dataset, parts)
    except ValueError as error:  # a user who has interacted with all the items
        raise DataError(f"data set '{config['dataset']}': {error}") from error
    loader_class = sooner(get_dataloader(config, "train"))
    return loader_class(config, parts[0], train, shuffle=config["shuffle"]), valid, test


def evaluation_loader(config: Any, phase: str) -> Any:
    """Return RecBole's loader class for a phase (``valid`` or ``test``)."""
    return get_dataloader(config, phase)


def recbole_trainer(config: Any, model: Any) -> Any:
    """Return the trainer class that RecBole has for a backbone's name.

    A model that counts and trains nothing has one epoch, as RecBole's own such models have: equal
    validations count as gains, and would never end a run of many.

    Works around: RecBole looks for ``<class name>Trainer``, so that a class called ``DaRecNCL``
    would miss ``NCLTrainer`` and never run its E-step; the configuration keeps the backbone's name.
    """
    if getattr(model, "counts_alone", False):
        return TraditionalTrainer
    return get_trainer(config["MODEL_TYPE"], config["model"])

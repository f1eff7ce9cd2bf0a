"""Every work-around for RecBole 1.2.1, each beside the behaviour that it mends.

Nothing else in this package patches, subclasses for repair, or reaches around RecBole.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.backbones.registry import backbone_class
from recbole_darec.data.splits import ratio_split
from recbole_darec.errors import DataError, OptionError, UserError
from recbole_darec.settings import Settings, data_folder

# RecBole's Config assigns np.float = np.float_ and the like; NumPy 2 took the right-hand sides
# away.  Put back before RecBole is imported, where they are missing.
for _alias, _type in {"float_": "float64", "complex_": "complex128", "unicode_": "str_"}.items():
    if not hasattr(np, _alias):
        setattr(np, _alias, getattr(np, _type))
if not hasattr(np, "bool8"):  # ray 2.6, which RecBole imports
    np.bool8 = np.bool_  # type: ignore[attr-defined]

from recbole.config import Config  # noqa: E402
from recbole.data.utils import create_samplers, get_dataloader  # noqa: E402
from recbole.utils import ModelType, get_trainer, init_logger, init_seed  # noqa: E402

__all__ = [
    "AlignedConfig",
    "ModelType",
    "backbone_class",
    "evaluation_loader",
    "init_seed",
    "load_dataset",
    "logging_until_checked",
    "make_config",
    "recbole_trainer",
    "start_logging",
    "training_loader",
]


class AlignedConfig(Config):
    """RecBole's configuration, made from settings that were merged and checked before.

    Mends: RecBole reads ``sys.argv`` wherever a Config is made, so that the arguments of a test
    runner or of a tuning worker become options, and command-line values silently override the
    trial's parameters.  Here the command line is one layer of :mod:`recbole_darec.settings`.
    """

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        # RecBole passes every text through eval(); ours are parsed values already.
        return config_dict


def make_config(settings: Settings) -> AlignedConfig:
    """Return RecBole's configuration for the settings of one run.

    Mends: RecBole looks model, trainer and data set up by name and fails for a class that it does
    not ship.  It is given the backbone's class and keeps the backbone's name, under which its own
    lookups (``NCLTrainer``, a special loader) still work.

    Raises:
        UserError: RecBole refuses an option.
    """
    backbone = settings.model_class or backbone_class(settings.model)
    named = type(settings.model, (backbone,), {}) if settings.model_class else backbone
    values = {k: v for k, v in settings.values.items() if v is not None or k in _NULLABLE}
    if values.get("use_gpu") is False:
        values["gpu_id"] = ""  # RecBole chooses the device by gpu_id alone
    try:
        config = AlignedConfig(model=named, dataset=settings.dataset, config_dict=values)
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise OptionError(f"RecBole refuses an option: {error}") from error
    # RecBole reads ml-100k from its own package even where data_path holds a copy.
    config["data_path"] = str(
        data_folder(str(settings.values.get("data_path", "dataset/")), settings.dataset)
    )
    return config


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


@contextlib.contextmanager
def logging_until_checked() -> Iterator[logging.handlers.MemoryHandler]:
    """Keep log records in memory while a run's inputs are still being checked.

    Mends: RecBole opens ``log/<model>/…`` before it has read anything, so that a mistyped name
    leaves a file behind.
    """
    root = logging.getLogger()
    memory = logging.handlers.MemoryHandler(100_000, flushLevel=logging.CRITICAL + 1)
    level = root.level
    root.addHandler(memory)
    root.setLevel(logging.INFO)
    try:
        yield memory
    except BaseException:
        root.setLevel(level)
        memory.buffer.clear()
        raise
    finally:
        root.removeHandler(memory)


def start_logging(config: Any, kept: logging.handlers.MemoryHandler) -> None:
    """Open RecBole's log file and console, and write what was kept until now to the file.

    Mends: RecBole's ``init_logger`` does nothing once the root logger has a handler, so that the
    second run of a process writes to the first one's file.

    Raises:
        UserError: the log folder cannot be written.
    """
    root = logging.getLogger()
    for handler in [h for h in root.handlers if getattr(h, "_recbole_darec", False)]:
        root.removeHandler(handler)
        handler.close()
    others = list(root.handlers)
    for handler in others:
        root.removeHandler(handler)
    try:
        init_logger(config)
    except OSError as error:
        raise UserError(
            f"cannot write the log folder '{Path('log').resolve()}': {error.strerror or error}; "
            "start the run in a folder that can be written"
        ) from error
    finally:
        ours = [h for h in root.handlers if h not in others]
        for handler in ours:
            handler._recbole_darec = True  # type: ignore[attr-defined]
        for handler in others:
            root.addHandler(handler)
    root.setLevel(min(handler.level for handler in ours))
    files = [h for h in ours if isinstance(h, logging.FileHandler)]
    for record in kept.buffer:
        for handler in files:
            if record.levelno >= handler.level:
                handler.handle(record)
    kept.buffer.clear()


def load_dataset(config: Any) -> Any:
    """Return RecBole's data set for a configuration, filtered and remapped, not yet split.

    Mends: ``create_dataset`` unpickles ``saved/<ds>-Dataset.pth`` if there is one, without a check
    of the data; a missing folder makes RecBole try a download; and an id that pandas reads as
    missing becomes the padding's id in a fixed split, or loses its interactions.

    Raises:
        DataError: an atomic file is missing or malformed.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    parts = config["benchmark_filename"]
    names = [f"{name}.inter"] if parts is None else [f"{name}.{part}.inter" for part in parts]
    if parts is not None and len(parts) != 3:
        raise DataError(f"benchmark_filename={parts} must name training, validation and test")
    for file in names:
        _check_inter_file(folder / file, config)
    module = importlib.import_module("recbole.data.dataset")
    kinds = {
        ModelType.SEQUENTIAL: "SequentialDataset",
        ModelType.KNOWLEDGE: "KnowledgeBasedDataset",
    }
    default = kinds.get(config["MODEL_TYPE"], "Dataset")
    dataset_class = getattr(module, f"{config['model']}Dataset", None) or getattr(module, default)
    complete = type(dataset_class.__name__, (_CompleteIds, dataset_class), {})
    try:
        dataset = complete(config)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            f"data set '{name}' in '{folder}' cannot be read: {type(error).__name__}: {error}"
        ) from error
    if len(dataset.inter_feat) == 0:
        raise DataError(
            f"data set '{name}': no interaction is left after filtering; check "
            "user_inter_num_interval, item_inter_num_interval and val_interval"
        )
    return dataset


class _CompleteIds:
    """Mixin over a RecBole data set that refuses interactions without user or item."""

    uid_field: str
    iid_field: str
    inter_feat: Any
    benchmark_filename_list: Any
    file_size_list: Any
    config: Any

    def _data_processing(self) -> None:
        for field in (self.uid_field, self.iid_field):
            missing = np.flatnonzero(self.inter_feat[field].isnull().to_numpy())
            if missing.size:
                path, line = self._place(int(missing[0]))
                raise DataError(
                    f"data file '{path}', line {line}: no {field} ({missing.size:,} such rows; an "
                    "empty cell, NA, NULL and NaN read as missing): mend the row or rename the id"
                )
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
    names = [column.split(":")[0] for column in columns]
    for field in (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]):
        if field not in names:
            raise DataError(
                f"data file '{path}' has no column '{field}' (it has {', '.join(names)}); rename "
                "it, or set USER_ID_FIELD and ITEM_ID_FIELD"
            )
    if not first.strip():
        raise DataError(f"data file '{path}' holds a header and no interaction")


def split_dataset(config: Any, dataset: Any) -> list[Any]:
    """Return the training, validation and test parts of a data set.

    Mends: RecBole draws a ratio split from the training seed, so that runs with several seeds are
    measured on several test sets, and profiles made from one training part leak into another.
    With ``split_seed`` the split is that number's, whatever ``seed`` is.

    Raises:
        DataError: a part is empty.
    """
    seed = config["split_seed"]
    if seed is not None and dataset.benchmark_filename_list is None:
        args = config["eval_args"]
        ratios = (args["split"] or {}).get("RS")
        if ratios is None or len(ratios) != 3:
            raise OptionError(
                f"split_seed goes with a ratio split of three parts, not {args['split']}"
            )
        by_user = str(args["group_by"]).lower() == "user"
        frame = dataset.inter_feat
        users = dataset.field2id_token[dataset.uid_field][frame[dataset.uid_field].to_numpy()]
        labels = ratio_split(
            users.astype(str) if by_user else None, len(frame), ratios=ratios, seed=seed
        )
        order = np.argsort(labels, kind="stable")
        dataset.inter_feat = frame.iloc[order].reset_index(drop=True)
        dataset.benchmark_filename_list = ["train", "valid", "test"]
        dataset.file_size_list = np.bincount(labels, minlength=3).tolist()
        dataset.fixed_split = {
            "ratios": [float(r) for r in ratios],
            "group_by": "user" if by_user else "none",
            "seed": seed,
            "interactions": len(frame),
        }
    parts = dataset.build()
    for part, kind in zip(parts, ("training", "validation", "test")):
        if len(part.inter_feat) == 0:
            raise DataError(
                f"the {kind} part of data set '{config['dataset']}' is empty; give it another "
                "split (eval_args), or more interactions a user"
            )
    return list(parts)


def training_loader(config: Any, dataset: Any, parts: list[Any]) -> tuple[Any, Any, Any]:
    """Return RecBole's training loader and its validation and test samplers."""
    try:
        train, valid, test = create_samplers(config, dataset, parts)
    except ValueError as error:  # a user who has interacted with all the items
        raise DataError(f"data set '{config['dataset']}': {error}") from error
    loader = get_dataloader(config, "train")(config, parts[0], train, shuffle=config["shuffle"])
    return loader, valid, test


def evaluation_loader(config: Any, phase: str) -> Any:
    """Return RecBole's loader class for a phase (``valid`` or ``test``)."""
    return get_dataloader(config, phase)


def recbole_trainer(config: Any) -> Any:
    """Return the trainer class that RecBole has for a backbone's name.

    Mends: RecBole looks for ``<class name>Trainer``, so that a class called ``DaRecNCL`` would
    miss ``NCLTrainer`` and never run its E-step; the configuration keeps the backbone's name.
    """
    return get_trainer(config["MODEL_TYPE"], config["model"])

"""From embedding files to the profile rows of a run: every file that a model needs is read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.data.splits import Split
from recbole_darec.embeddings import (
    EmbeddingOptions,
    MappedRows,
    ProfileEmbeddings,
    load_embeddings,
)
from recbole_darec.errors import DataError, OptionError
from recbole_darec.resources import atomic_data_dir
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import ProfileSourceOptions

__all__ = ["RowsInFile", "check_split", "item_rows", "profile_rows", "rows_of"]

# From how many bytes on the rows of a model over items alone stay in their file.
_MAPPED_FROM = 256 << 20


class RowsInFile:
    """Profile embeddings that stay in their file; a step reads those of its own items.

    Attributes:
        shape: number of rows, without the padding's, and width.
    """

    def __init__(self, mapped: MappedRows) -> None:
        self._mapped = mapped
        self.shape = (len(mapped.rows) - 1, mapped.table.width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, items: Tensor) -> Tensor:
        """Return the rows of items by their numbers, from 0, on the CPU and in the file's type."""
        return torch.from_numpy(self._mapped.take(items.cpu().numpy() + 1))


def item_rows(config: Any, dataset: Any, kinds: Mapping[str, slice]) -> Tensor | RowsInFile:
    """Return the items' profile embeddings, for a model that has no other kind.

    Many of them stay in their file, if this is binary and has every item's.

    Args:
        config, dataset, kinds: as in :func:`profile_rows`.

    Raises:
        EmbeddingError, OptionError, DataError: as :func:`profile_rows`.
    """
    found = _loaded(config, dataset, kinds, mapped_from=_MAPPED_FROM)
    if found.in_file is not None:
        return RowsInFile(found.in_file)
    return _stacked(found, kinds)


def profile_rows(
    config: Any, dataset: Any, kinds: Mapping[str, slice], *, some: bool = False
) -> Tensor:
    """Return the frozen profile embeddings E^L of a run, ``[n, width]``, without padding rows.

    Ids are those of the data set's own map: an alias, RecBole's way, would add every token of an
    embedding file to the candidates of the all-rank evaluation.

    Args:
        config: RecBole's configuration.
        dataset: the training part.
        kinds: where the rows of each kind stand in the result.
        some: whether kinds without a file, and the control ``no_text``, are taken: zero rows.

    Raises:
        EmbeddingError: a file is missing or malformed, or does not cover the data set.
        OptionError: the control ``no_text`` without ``some``.
        DataError: the profiles were made from another split than this run's.
    """
    source = options_from_config(ProfileSourceOptions, config)
    if some and source.profile_control == "no_text":
        return torch.zeros(_n_rows(kinds), 1)
    return _stacked(_loaded(config, dataset, kinds, some=some), kinds)


def _loaded(
    config: Any,
    dataset: Any,
    kinds: Mapping[str, slice],
    *,
    some: bool = False,
    mapped_from: int | None = None,
) -> ProfileEmbeddings:
    source = options_from_config(ProfileSourceOptions, config)
    if source.profile_control == "no_text":
        raise OptionError(
            "profile_control=no_text is the control of --align=text_filter and of models that "
            "can do without profiles; take shuffle or random"
        )
    tokens = {kind: dataset.field2id_token[_field(dataset, kind)] for kind in kinds}
    training = None
    if _changed(source):  # the principal directions are those of what is trained
        ids = {k: dataset.inter_feat[_field(dataset, k)].numpy() for k in kinds}
        training = {kind: np.flatnonzero(np.bincount(found)) for kind, found in ids.items()}
    found = _load(config, source, tokens, some=some, mapped_from=mapped_from, training=training)
    # A configuration of RecBole's own knows of no split.
    check_split(found.meta, getattr(config, "split", None), source.profile_split)
    return found


def _changed(source: ProfileSourceOptions) -> bool:
    """Return whether the profiles are reduced or whitened."""
    return source.profile_components is not None or source.profile_whiten != "none"


def _n_rows(kinds: Mapping[str, slice]) -> int:
    return max(rows.stop for rows in kinds.values())


def _stacked(found: ProfileEmbeddings, kinds: Mapping[str, slice]) -> Tensor:
    """Return the rows of all kinds in one table."""
    rows = torch.from_numpy(found.rows)
    if found.slices == dict(kinds):
        return rows  # as it is: it may be mapped from a file
    table = torch.zeros((_n_rows(kinds), found.width), dtype=rows.dtype)
    for kind, where in found.slices.items():
        table[kinds[kind]] = rows[where]
    return table


def rows_of(
    config: Any, kind: str, tokens: Sequence[str], *, missing: str | None = None
) -> ProfileEmbeddings:
    """Return the profile embeddings of one kind's ids, those of the data set or others.

    Args:
        config: RecBole's configuration.
        kind: ``user`` or ``item``.
        tokens: ids, the padding first.
        missing: what an id without a row gets, instead of the run's ``missing_profile``.

    Raises:
        EmbeddingError: as :func:`profile_rows`.
        OptionError: the run is the control without texts.
    """
    source = options_from_config(ProfileSourceOptions, config)
    if source.profile_control == "no_text":
        raise OptionError("profile_control=no_text: the run has no profiles to rank others by")
    if _changed(source):
        raise OptionError(
            "profile_components and profile_whiten change the profiles of a run's own ids, and do "
            "not go with new users or items: leave them out"
        )
    return _load(config, source, {kind: tokens}, missing=missing)


def _load(
    config: Any,
    source: ProfileSourceOptions,
    tokens: Mapping[str, Sequence[str]],
    *,
    some: bool = False,
    missing: str | None = None,
    mapped_from: int | None = None,
    training: Mapping[str, np.ndarray] | None = None,
) -> ProfileEmbeddings:
    name = config["dataset"]
    if source.profile_dir is not None:
        folders = [Path(source.profile_dir)]
    else:
        folders = [Path(config["data_path"]), atomic_data_dir() / name]
    return load_embeddings(
        folders,
        name,
        tokens.get("user"),
        tokens.get("item"),
        EmbeddingOptions(
            user_file=source.user_profile_file,
            item_file=source.item_profile_file,
            missing=missing or source.missing_profile,
            control=source.profile_control,
            control_seed=source.profile_control_seed,
            expected_width=source.profile_width,
            components=source.profile_components,
            whiten=source.profile_whiten,
        ),
        some=some,
        mapped_from=mapped_from,
        training=training,
    )


def _field(dataset: Any, kind: str) -> str:
    field: str = dataset.uid_field if kind == "user" else dataset.iid_field
    return field


def check_split(
    meta: Mapping[str, Mapping[str, Any]], here: Split | None, otherwise: str = "error"
) -> None:
    """Refuse profiles that were made from another split's training interactions than this run's.

    A profile that speaks of training interactions speaks of this run's test interactions where the
    split is another one.  Files that do not say how they were made are taken as they are.

    Args:
        meta: what the embedding files say of their making, by kind.
        here: the run's split, None where no seed of its own drew it.
        otherwise: ``error``, or ``warn`` to log what is wrong and go on.

    Raises:
        DataError: the splits differ, or a file's note of its split cannot be read.
    """
    for kind, about in meta.items():
        noted = about.get("split")
        if not isinstance(noted, Mapping):  # the files of others may say it in words
            continue
        try:
            there = Split.from_note(noted)
        except DataError as error:
            raise DataError(f"what '{about['file']}' says of its making: {error}") from None
        if there == here:
            continue
        message = (
            f"the {kind} profiles in '{about['file']}' were made from the training interactions of "
            f"another split ({there}) than this run's, and may tell test interactions"
        )
        if otherwise == "error":
            raise DataError(
                f"{message}; run on that split, bring other profiles, or set profile_split=warn"
            )
        getLogger().warning(message)

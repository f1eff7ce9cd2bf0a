"""Which profile embeddings a run asks for: from a configuration and a data set to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_darec.embeddings import ProfileOptions
from recbole_darec.errors import DataError
from recbole_darec.resources import atomic_data_dir
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import ProfileSourceOptions

__all__ = ["ProfileRequest", "check_split", "profile_request"]


@dataclass(frozen=True)
class ProfileRequest:
    """The arguments of :func:`recbole_darec.embeddings.load_profiles`."""

    directories: Sequence[Path]
    dataset: str
    user_tokens: Sequence[str]
    item_tokens: Sequence[str]
    options: ProfileOptions


def profile_request(config: Any, dataset: Any) -> ProfileRequest:
    """Say where the profile embeddings of a run are and which tokens they must cover.

    Tokens come from the data set's own id map, row 0 being padding: an alias would add every token
    of the embedding file to the candidates of the all-rank evaluation.
    """
    source = options_from_config(ProfileSourceOptions, config)
    name = config["dataset"]
    if source.profile_dir is not None:
        directories = [Path(source.profile_dir)]
    else:
        directories = [Path(config["data_path"]), atomic_data_dir() / name]
    return ProfileRequest(
        directories=directories,
        dataset=name,
        user_tokens=dataset.field2id_token[dataset.uid_field],
        item_tokens=dataset.field2id_token[dataset.iid_field],
        options=ProfileOptions(
            user_file=source.user_profile_file,
            item_file=source.item_profile_file,
            missing=source.missing_profile,
            control=source.profile_control,
            control_seed=source.profile_control_seed,
            expected_width=source.profile_width,
        ),
    )


def check_split(config: Any, dataset: Any, meta: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse profiles that were made from another split's training interactions than this run's.

    A profile that speaks of training interactions speaks of this run's test interactions where the
    split is another one.  Files that do not say how they were made are taken as they are.

    Args:
        config: RecBole's configuration.
        dataset: the training part, with the ``fixed_split`` that it was drawn by, if any.
        meta: what the embedding files say of their making, per side.

    Raises:
        DataError: the splits differ, and ``profile_split`` is ``error``.
    """
    here = _split_key(getattr(dataset, "fixed_split", None))
    for side, about in meta.items():
        if about.get("split") is None or _split_key(about["split"]) == here:
            continue
        message = (
            f"the {side} profiles in '{about['file']}' were made from the training interactions of "
            f"another split ({_split_text(about['split'])}) than this run's, and may tell test "
            "interactions"
        )
        if options_from_config(ProfileSourceOptions, config).profile_split == "error":
            raise DataError(
                f"{message}; run on that split, bring other profiles, or set profile_split=warn"
            )
        getLogger().warning(message)


def _split_key(split: Any) -> Any:
    if not isinstance(split, Mapping):
        return None
    ratios = [float(r) for r in split["ratios"]]
    shares = tuple(round(r / sum(ratios), 9) for r in ratios)
    return shares, split.get("group_by"), split.get("seed"), split.get("interactions")


def _split_text(split: Mapping[str, Any]) -> str:
    ratios = ":".join(f"{float(r):g}" for r in split["ratios"])
    return (
        f"{ratios} by {split.get('group_by')}, split_seed {split.get('seed')}, of "
        f"{split.get('interactions')} interactions"
    )

"""Which profile embeddings a run asks for: from a configuration and a data set to plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_darec.embeddings import ProfileOptions
from recbole_darec.options import ProfileSourceOptions, options_from_config
from recbole_darec.resources import atomic_data_dir

__all__ = ["ProfileRequest", "profile_request"]


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

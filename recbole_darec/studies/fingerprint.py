"""What a run reads: the digest of a data set's interactions and of its profile files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from recbole_darec.alignment.registry import aligner_class
from recbole_darec.backbones.registry import reads_profiles
from recbole_darec.embeddings import profile_files
from recbole_darec.errors import EmbeddingError
from recbole_darec.resources import atomic_data_dir
from recbole_darec.settings.layers import data_folder
from recbole_darec.settings.run_settings import Settings

__all__ = ["content_digest", "data_files", "needs_profiles"]

_PARTS = ("inter", "user", "item")


def data_files(settings: Settings) -> list[Path]:
    """Return the files that a run reads: interactions, features, and profiles where it needs them.

    Raises:
        EmbeddingError: it needs profiles, and there are none.
    """
    values, name = settings.values, settings.dataset
    folder = data_folder(str(values.get("data_path", "dataset/")), name)
    parts = values.get("benchmark_filename")
    stems = [f"{name}.{part}" for part in parts] if parts else [name]
    found = [folder / f"{stem}.inter" for stem in stems]
    columns = values.get("load_col")
    for part in _PARTS[1:]:
        if columns is None or part in columns:
            found.append(folder / f"{name}.{part}")
    source = settings.profile_source
    if needs_profiles(settings) and source.profile_control != "no_text":
        own = source.profile_dir
        folders = [Path(own)] if own is not None else [folder, atomic_data_dir() / name]
        kinds = ("item",) if settings.family == "sequential" else ("user", "item")
        profiles = profile_files(
            folders, name, kinds, {"user": source.user_profile_file,
                                   "item": source.item_profile_file},
        )  # fmt: skip
        if not profiles:
            where = f"the data set '{name}' has" if own is None else f"profile_dir={own} holds"
            raise EmbeddingError(
                f"{where} no profile embeddings, and model={settings.model} with "
                f"align={settings.align} needs them: bring them in with 'recbole-darec import' or "
                "'embed', or leave it out"
            )
        found += profiles
    return [path for path in found if path.is_file()]


def needs_profiles(settings: Settings) -> bool:
    """Tell whether a run reads profiles: its aligner, its model, or what its tables start from."""
    needed = bool(aligner_class(settings.align).needs_profiles)
    return needed or reads_profiles(settings.model) or settings.values.get("init") == "text"


def content_digest(paths: list[Path], digest_of: Callable[[Path], str]) -> str:
    """Return the digest of files by name and content.

    Args:
        paths: the files.
        digest_of: of one file's content.
    """
    whole = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        whole.update(f"{path.name}\0{digest_of(path)}\n".encode())
    return whole.hexdigest()[:16]

"""Where the embedding files of a data set's users and items are looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_darec.embeddings.formats import exists, files_of
from recbole_darec.errors import EmbeddingError

__all__ = ["found_file", "is_there", "profile_files"]

_SUFFIX = {"user": ".useremb", "item": ".itememb"}


def profile_files(
    directories: Sequence[str | Path],
    dataset: str,
    kinds: Sequence[str],
    named: Mapping[str, str | None],
) -> list[Path]:
    """Return the files that ``load_embeddings`` would read, of the kinds that have any.

    Args:
        directories: where to look; the first that has a kind's file counts.
        dataset: name of the data set.
        kinds: ``user``, ``item`` or both.
        named: a file by kind, instead of a search.
    """
    found: list[Path] = []
    for kind in kinds:
        for place in _places(directories, dataset, kind, named.get(kind)):
            if exists(place):
                found += files_of(place)
                break
    return found


def is_there(directories: Sequence[str | Path], dataset: str, kind: str) -> bool:
    """Tell whether a kind has a file in one of the folders."""
    return any(map(exists, _places(directories, dataset, kind, None)))


def found_file(
    directories: Sequence[str | Path], dataset: str, kind: str, named: str | None
) -> Path:
    """Return the first place that has the kind's file.

    Raises:
        EmbeddingError: none has.
    """
    places = _places(directories, dataset, kind, named)
    for place in places:
        if exists(place):
            return place
    looked = ", ".join(f"{p}[.npy]" if p.suffix != ".npy" else str(p) for p in places)
    raise EmbeddingError(
        f"no profile embeddings of the {kind}s of {dataset}: looked for {looked or 'nothing'}; "
        f"bring them in with 'recbole-darec import', name the file with {kind}_profile_file=PATH, "
        f"or train without them (--align=none)"
    )


def _places(
    directories: Sequence[str | Path], dataset: str, kind: str, named: str | None
) -> list[Path]:
    if named is None:
        return [Path(d) / f"{dataset}{_SUFFIX[kind]}" for d in directories]
    name = Path(named).expanduser()
    if not name.name:
        raise EmbeddingError(
            f"{kind}_profile_file={named!r} names no file: give one, or leave the option out"
        )
    return [name] if name.is_absolute() else [name, *(Path(d) / name for d in directories)]

"""RLMRec's released data: three pickled interaction matrices, profile texts and their embeddings.

Ren et al., "Representation Learning with Large Language Models for Recommendation", WWW 2024.  The
release is a folder for each data set with ``trn_mat.pkl``, ``val_mat.pkl`` and ``tst_mat.pkl``
(SciPy COO, users × items) and, where present, ``usr_emb_np.pkl`` / ``itm_emb_np.pkl`` (arrays, row
n belongs to user or item n) and ``usr_prf.pkl`` / ``itm_prf.pkl`` (``{n: {"profile": text}}``).
DaRec's experiments stand on the same files.
"""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from recbole_darec.data.atomic import check_dataset_name
from recbole_darec.data.files import progress
from recbole_darec.errors import DataError, nearest, some
from recbole_darec.sources.importers.base import (
    ImportReport,
    KindData,
    check_matrix,
    write_import,
)
from recbole_darec.sources.safe_pickle import load_pickle, loads_pickle

__all__ = ["import_rlmrec"]

_MATRICES = {"train": "trn_mat.pkl", "valid": "val_mat.pkl", "test": "tst_mat.pkl"}
_TRAIN = _MATRICES["train"]

# A member of an archive is read into memory: its size, and how far it swells, must be plausible.
_MAX_MEMBER = 4 * 2**30
_FREE_MEMBER = 64 * 2**20
_MAX_SWELL = 200


class _Release(Protocol):
    """The files of one data set's release."""

    def has(self, file: str) -> bool: ...

    def path(self, file: str) -> str: ...

    def load(self, file: str) -> object: ...


class _Folder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, file: str) -> bool:
        return (self.folder / file).is_file()

    def path(self, file: str) -> str:
        return str(self.folder / file)

    def load(self, file: str) -> object:
        return load_pickle(self.folder / file)


class _Archive:
    """Members are read straight from the archive; nothing is unpacked, so no path can escape."""

    def __init__(self, archive: Path, folder: PurePosixPath, names: Sequence[str]) -> None:
        self.archive = archive
        self.folder = folder
        self.names = {str(PurePosixPath(name)): name for name in names}  # "./a/b" -> "a/b"

    def _member(self, file: str) -> str:
        return str(self.folder / file)

    def has(self, file: str) -> bool:
        return self._member(file) in self.names

    def path(self, file: str) -> str:
        return f"{self.archive}/{self._member(file)}"

    def load(self, file: str) -> object:
        name = self.path(file)
        try:
            with zipfile.ZipFile(self.archive) as archive:
                info = archive.getinfo(self.names[self._member(file)])
                swollen = info.file_size > max(_FREE_MEMBER, _MAX_SWELL * info.compress_size)
                if swollen or info.file_size > _MAX_MEMBER:
                    raise DataError(
                        f"{name} unpacks to {info.file_size:,} bytes from {info.compress_size:,}, "
                        "which no release does; refused"
                    )
                data = archive.read(info)  # never yields more than the declared size
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise DataError(f"{name} cannot be unpacked ({error}): fetch it again") from None
        except RuntimeError as error:  # zipfile's way to say that a password is needed
            raise DataError(f"{name} cannot be unpacked: {error}") from None
        return loads_pickle(data, name)


def _open(source: Path, dataset: str) -> _Release:
    """Find the data set's files in a folder of releases, in one release's folder, or in a zip."""
    if source.is_dir():
        for folder in (source / dataset, source):
            if (folder / _TRAIN).is_file():
                return _Folder(folder)
        known = sorted(p.parent.name for p in source.glob(f"*/{_TRAIN}"))
        return _not_found(source, dataset, known)
    if not source.exists():
        raise DataError(
            f"{source} does not exist: --source is RLMRec's data folder or a .zip of it"
        )
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        raise DataError(
            f"{source} is neither a folder nor a readable .zip of RLMRec's data"
        ) from None
    folders = [PurePosixPath(name).parent for name in names if PurePosixPath(name).name == _TRAIN]
    folders = sorted(set(folders))
    matching = [folder for folder in folders if folder.name == dataset]
    if len(matching) > 1:
        raise DataError(f"{source} has more than one folder '{dataset}': {some(matching)}")
    if matching:
        return _Archive(source, matching[0], names)
    if folders == [PurePosixPath(".")]:
        return _Archive(source, folders[0], names)
    return _not_found(source, dataset, [folder.name for folder in folders])


def _not_found(source: Path, dataset: str, known: Sequence[str]) -> _Release:
    if known:
        raise DataError(
            f"{source} holds no data set '{dataset}'{nearest(dataset, known)}, only {some(known)}"
        )
    raise DataError(f"{source} holds no {_TRAIN}, alone or in a folder '{dataset}'")


def _matrix(release: _Release, file: str) -> tuple[tuple[int, int], np.ndarray, int]:
    """Read one interaction matrix.

    Returns:
        Its shape, the distinct pairs of its positive entries as ``row · columns + column`` in file
        order, and how many repeated pairs were dropped.
    """
    where = release.path(file)
    if not release.has(file):
        raise DataError(f"{where} is missing: the fixed split needs {some(_MATRICES.values())}")
    matrix: Any = release.load(file)
    if not hasattr(matrix, "tocoo"):
        raise DataError(f"{where} holds no sparse matrix, but {type(matrix).__name__}")
    matrix = matrix.tocoo()
    if matrix.data.dtype.kind == "f" and not np.isfinite(matrix.data).all():
        raise DataError(f"{where} has NaN or Inf among its entries")
    if matrix.data.dtype.kind in "fi" and (matrix.data < 0).any():
        raise DataError(f"{where} has negative entries: it is no matrix of interactions")
    stored = matrix.data != 0
    pairs = matrix.row[stored].astype(np.int64) * matrix.shape[1] + matrix.col[stored]
    if not len(pairs):
        raise DataError(f"{where} has no interactions")
    first = np.sort(np.unique(pairs, return_index=True)[1])
    return matrix.shape, pairs[first], len(pairs) - len(first)


def _tokens(count: int) -> list[str]:
    return [str(n) for n in range(count)]


def _kind_data(release: _Release, short: str, count: int, what: str) -> KindData:
    found = KindData()
    file = f"{short}_emb_np.pkl"
    if release.has(file):
        where = release.path(file)
        matrix = release.load(file)
        if not isinstance(matrix, np.ndarray):
            raise DataError(f"{where} holds no array, but {type(matrix).__name__}")
        found.matrix_ids = _tokens(count)
        found.matrix = check_matrix(matrix, found.matrix_ids, where, f"the matrices' {what}")
    file = f"{short}_prf.pkl"
    if release.has(file):
        texts = _profiles(release.load(file), release.path(file), count)
        found.text_ids = [str(n) for n in sorted(texts)]
        found.texts = [texts[n] for n in sorted(texts)]
    return found


def _profiles(stored: object, where: str, count: int) -> dict[int, str]:
    """Read ``{n: {"profile": text}}`` or ``{n: text}``; empty texts are left out."""
    if isinstance(stored, list):
        stored = dict(enumerate(stored))
    if not isinstance(stored, dict):
        raise DataError(f"{where} holds no profile texts by number, but {type(stored).__name__}")
    texts: dict[int, str] = {}
    for key, value in stored.items():
        number = int(key) if isinstance(key, int) or str(key).isdecimal() else -1
        if not 0 <= number < count:
            raise DataError(f"{where}: a profile for '{key}', which is no number below {count:,}")
        text = value.get("profile") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise DataError(f"{where}: the entry '{key}' has no text under 'profile'")
        if text.strip():
            texts[number] = text
    return texts


def import_rlmrec(
    source: str | Path, dataset: str, out: str | Path = "dataset", overwrite: bool = False
) -> ImportReport:
    """Turn one data set of RLMRec's release into RecBole's atomic files with its fixed split.

    Users and items keep their row and column numbers as ids (``"0"``, ``"1"``, …).  Stored zeros
    are dropped, as are pairs repeated within a matrix.  A pair that stands in two matrices is kept
    and counted: the papers' numbers are those of the matrices as released.

    Args:
        source: the release's folder, a folder of such folders, or a ``.zip`` of them.
        dataset: the data set's name (``amazon``, ``yelp``, ``steam``), and that of its folder.
        out: the folder of data sets; ``out/dataset`` is written, whole or not at all.
        overwrite: replace an earlier import.

    Raises:
        DataError: a file is missing, damaged, or asks for more than arrays (see
            :mod:`~recbole_darec.sources.safe_pickle`); the files contradict each other; or the
            folder cannot be written.
    """
    started = time.perf_counter()
    check_dataset_name(dataset)
    release = _open(Path(source), dataset)

    shape: tuple[int, int] | None = None
    pairs: dict[str, np.ndarray] = {}
    duplicates = 0
    for part in progress(_MATRICES, "matrices"):
        found, pairs[part], dropped = _matrix(release, _MATRICES[part])
        if shape is not None and found != shape:
            raise DataError(
                f"{release.path(_MATRICES[part])} has shape {found}, but {_TRAIN} has {shape}"
            )
        shape = found
        duplicates += dropped
    assert shape is not None
    overlaps = sum(map(len, pairs.values())) - len(np.unique(np.concatenate([*pairs.values()])))

    import pandas as pd

    names = [np.array(_tokens(count), dtype=object) for count in shape]
    parts = {
        part: pd.DataFrame(
            {"user_id": names[0][codes // shape[1]], "item_id": names[1][codes % shape[1]]}
        )
        for part, codes in pairs.items()
    }
    by_kind = [
        _kind_data(release, short, count, what)
        for short, count, what in progress(
            [("usr", shape[0], "users"), ("itm", shape[1], "items")], "profile texts and embeddings"
        )
    ]
    return write_import(
        dataset=dataset,
        out=Path(out),
        parts=parts,
        users=by_kind[0],
        items=by_kind[1],
        note=f"RLMRec's release of {dataset}, with its fixed split",
        overwrite=overwrite,
        duplicates=duplicates,
        overlaps=overlaps,
        started=started,
    )

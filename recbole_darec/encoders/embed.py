"""From profile texts to the binary embedding files of a data set.

A text is encoded once, wherever and however often it stands; its row is kept in the store the
moment its batch is done.  So a run that was killed goes on where it was, and a second run, or one
more item, costs what is new.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.profile_files import read_profiles
from recbole_darec.data.store import store_path
from recbole_darec.embeddings.binary import opened, read_meta, with_suffix, write_binary
from recbole_darec.encoders.base import Encoder
from recbole_darec.encoders.distinct import encode_distinct
from recbole_darec.encoders.options import DTYPES, SIDES, EmbedRequest
from recbole_darec.encoders.vector_cache import open_vector_cache
from recbole_darec.errors import DataError, EmbeddingError, some

__all__ = [
    "DTYPES",
    "SIDES",
    "EmbedReport",
    "EmbedRequest",
    "embed_profiles",
]

_UNIT = 1e-3  # float16 moves the length of a row of length 1 by less


@dataclass
class EmbedReport:
    """What one run did.

    Attributes:
        texts: side -> rows written.
        distinct: different texts of all sides.
        stored: those of them that were in the store.
        encoded: those that were encoded.
        pooled: those that are longer than the encoder reads, and were split.
        empty: side -> ids without a text, which have no row.
        width: of the rows.
        files: the matrices.
        seconds: wall time.
    """

    encoder: str
    revision: str | None
    texts: dict[str, int]
    distinct: int
    stored: int
    encoded: int
    pooled: int
    empty: dict[str, int]
    width: int
    dtype: str
    files: list[Path]
    seconds: float

    def table(self) -> str:
        """Return the report as aligned lines."""
        rows = [
            *((f"{side} texts", f"{n:,}") for side, n in self.texts.items()),
            ("different texts", f"{self.distinct:,}"),
            ("  from the store", f"{self.stored:,}"),
            ("  encoded now", f"{self.encoded:,}"),
            ("split, averaged", f"{self.pooled:,}"),
            *((f"{side}s without text", f"{n:,}") for side, n in self.empty.items() if n),
            ("rows", f"{self.width} × {self.dtype}"),
            ("files", ", ".join(map(str, self.files))),
        ]
        wide = max(len(name) for name, _ in rows)
        model = self.encoder + (f" ({self.revision})" if self.revision else "")
        head = f"{model}, {self.seconds:.1f} s"
        return "\n".join([head, *(f"  {name:<{wide}}  {value}" for name, value in rows)])


@dataclass(frozen=True)
class _Side:
    """One profile file: the ids and texts that get a row, in the file's order."""

    name: str
    ids: list[str]
    texts: list[str]
    empty: list[str]
    sha256: str


def embed_profiles(
    request: EmbedRequest, encoder: Encoder, *, show_progress: bool | None = None
) -> EmbedReport:
    """Encode the profiles of a data set and write ``NAME.useremb.*`` and ``NAME.itememb.*``.

    Everything is read and checked before the first text is encoded, and every row is there before
    the first file is written.

    Args:
        request: what, and where to.
        encoder: of :func:`recbole_darec.encoders.parse_encoder`.
        show_progress: a bar on standard error; None: where that is a terminal.

    Raises:
        UserError: a profile file is missing or malformed, embeddings are there already, or the
            encoder fails.  What was encoded is kept in the store.
    """
    start = time.monotonic()
    _require_room(request)
    split = _noted_split(request)
    sides = [_read_side(request, name) for name in request.sides]
    texts = list(dict.fromkeys(text for side in sides for text in side.texts))
    path = request.store or store_path(request.folder, request.dataset)
    with open_vector_cache(path, encoder.identity) as vectors:
        encoded = encode_distinct(texts, encoder, vectors, show_progress=show_progress)
        revision = vectors.settle_revision(encoder.revision)
        pooled = vectors.pieces(texts)
        matrices = [vectors.matrix(side.texts, np.dtype(request.dtype)) for side in sides]
    for side, matrix in zip(sides, matrices):
        _require_representable(side, matrix)
    files = []
    for side, matrix in zip(sides, matrices):
        about = {
            "encoder": encoder.name,
            "revision": revision,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "dimension": int(matrix.shape[1]),
            "dtype": str(matrix.dtype),
            "normalised": _normalised(matrix),
            "texts": len(side.texts),
            "texts_pooled": sum(text in pooled for text in side.texts),
            "text_sha256": side.sha256,
            "packages": _versions(encoder.packages),
            **({} if split is None else {"split": split}),
        }
        files.append(write_binary(request.stem(side.name), side.ids, matrix, about))
    return EmbedReport(
        encoder=encoder.name,
        revision=revision,
        texts={side.name: len(side.texts) for side in sides},
        distinct=len(texts),
        stored=len(texts) - encoded,
        encoded=encoded,
        pooled=len(pooled),
        empty={side.name: len(side.empty) for side in sides},
        width=int(matrices[0].shape[1]),
        dtype=request.dtype,
        files=files,
        seconds=time.monotonic() - start,
    )


def _require_room(request: EmbedRequest) -> None:
    if not request.folder.is_dir():
        raise DataError(
            f"there is no data set '{request.dataset}' in {request.data_path}: make it with "
            "'recbole-darec prepare' or 'import', or name its folder's parent with --data-path"
        )
    if request.overwrite:
        return
    for side in request.sides:
        stem = request.stem(side)
        for path in (stem, with_suffix(stem, ".npy")):
            if path.exists():
                raise DataError(
                    f"{path} exists: give --overwrite to replace the embeddings; texts whose rows "
                    "are in the store are not encoded again"
                )


def _noted_split(request: EmbedRequest) -> Any:
    """Return the split that the data set's own profiles were made from, None where none is noted.

    Profiles from elsewhere are not those that the note speaks of.
    """
    if any(side in request.profiles for side in request.sides):
        return None
    return read_meta(request.folder / f"{request.dataset}.profile").get("split")


def _read_side(request: EmbedRequest, name: str) -> _Side:
    path = request.profiles.get(name, request.folder / f"{request.dataset}.{name}profile.jsonl")
    if not path.is_file():
        other = next(side for side in SIDES if side != name)
        raise DataError(
            f"{path} does not exist: make profiles with 'recbole-darec profile', name a file with "
            f"--{name}-profiles, or give --side={other}"
        )
    ids, texts = read_profiles(path)
    # Half of a surrogate pair, as a cut text may end with, is no Unicode text for an encoder.
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    empty = [token for token, text in zip(ids, texts) if not text.strip()]
    if empty:
        getLogger().warning(
            f"{path.name}: {len(empty):,} of {len(ids):,} texts are empty and get no row: "
            f"{some(empty)}"
        )
    filled = [(token, text) for token, text in zip(ids, texts) if text.strip()]
    return _Side(
        name, [token for token, _ in filled], [text for _, text in filled], empty, _sha256(path)
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _require_representable(side: _Side, matrix: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        raise EmbeddingError(
            f"the {side.name} rows of {some([side.ids[row] for row in bad])} do not fit into "
            f"{matrix.dtype}: give --dtype=float32"
        )


def _normalised(matrix: np.ndarray) -> bool:
    """Say whether every row has length 1, up to the rounding of float16."""
    for start in range(0, len(matrix), 4096):
        lengths = np.linalg.norm(matrix[start : start + 4096].astype(np.float32), axis=1)
        if np.abs(lengths - 1).max() >= _UNIT:
            return False
    return True


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return dict(_installed(["recbole-darec", *packages]))


def _installed(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            continue

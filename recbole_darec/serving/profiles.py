"""Profiles of users and items that a model does not know: from a file to rows like its own."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.profile_files import read_profiles, require_unique
from recbole_darec.embeddings import read_table
from recbole_darec.errors import DataError, EmbeddingError, OptionError, some

__all__ = ["GivenProfiles", "encoded_rows", "given_profiles"]

_TEXTS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class GivenProfiles:
    """New ids with a text or a row each.

    Attributes:
        what: the file, or what stands for it in messages.
        tokens: ids, each once.
        texts: their profiles, or None.
        rows: their embeddings, ``[m, width]``, or None.
    """

    what: str
    tokens: list[str]
    texts: list[str] | None = None
    rows: np.ndarray | None = None


def given_profiles(
    source: str | Path | Mapping[str, Any] | GivenProfiles, flag: str
) -> GivenProfiles:
    """Read new ids and their profiles.

    Args:
        source: JSON lines with ``id`` and ``profile``; or stored embeddings: ``.npy`` with
            ``.tokens``, an atomic text file, or ``.npz`` with ``ids`` and ``vectors``; or, from
            Python, a text or a row by id, or what this function returned.
        flag: the argument, for messages.

    Raises:
        DataError, EmbeddingError: the file cannot be read, an id has no text, or a row is not of
            finite numbers.
    """
    if isinstance(source, GivenProfiles):
        return source
    if isinstance(source, Mapping):
        return _of_mapping(source, flag)
    path = Path(source)
    if path.name.lower().endswith(_TEXTS):
        if not path.is_file():
            raise DataError(f"{flag}: there is no file '{path}'")
        return _with_texts(str(path), *read_profiles(path))
    if path.suffix.lower() == ".npz":
        tokens, rows = _read_npz(path)
    else:
        table = read_table(path)
        tokens, rows = list(table.tokens), np.array(table.matrix)
    return _with_rows(str(path), tokens, rows)


def encoded_rows(
    given: GivenProfiles, meta: Mapping[str, Any], width: int, encoder: str | None
) -> np.ndarray:
    """Return a row for each new id, by the encoder that the run's own profiles came from.

    Args:
        given: texts or rows.
        meta: what the run's embedding file says of its making.
        width: of the run's profiles.
        encoder: the encoder's name, where the file does not tell it; None for the file's.

    Raises:
        OptionError: nothing says which encoder it was.
        EmbeddingError: the rows are of another width than the run's.
    """
    rows = given.rows
    if rows is None:
        assert given.texts is not None
        rows = _encoded(given, meta, encoder)
    elif encoder is not None:
        raise OptionError(f"--encoder is without effect: {given.what} holds embeddings, not texts")
    if rows.shape[1] != width:
        raise EmbeddingError(
            f"{given.what}: rows of width {rows.shape[1]:,}, and the run's profiles in "
            f"{meta['file']} are {width:,} wide: take the encoder that they came from"
        )
    return np.asarray(rows, dtype=np.float32)


def _encoded(given: GivenProfiles, meta: Mapping[str, Any], name: str | None) -> np.ndarray:
    from recbole_darec.encoders.distinct import encode_distinct
    from recbole_darec.encoders.parse import parse_encoder
    from recbole_darec.encoders.vector_cache import VectorsInMemory

    noted = str(meta.get("encoder") or "")
    if noted and ":" not in noted:  # the name of a model as others write it
        noted = f"st:{noted}"
    name = name or noted
    if not name:
        raise OptionError(
            f"{meta['file']} does not say which encoder made it: name it with --encoder, or give "
            f"embeddings in the place of {given.what}"
        )
    encoder, vectors = parse_encoder(name), VectorsInMemory()
    assert given.texts is not None
    encode_distinct(given.texts, encoder, vectors)
    there = meta.get("revision")
    if there and encoder.revision and encoder.revision != there:
        getLogger().warning(
            f"{name} is at revision {encoder.revision} and made {meta['file']} at {there}: the "
            "rows of both may not be comparable"
        )
    return vectors.matrix(given.texts, np.dtype(np.float32))


def _of_mapping(source: Mapping[str, Any], flag: str) -> GivenProfiles:
    tokens, values = [str(token) for token in source], list(source.values())
    if not tokens:
        raise DataError(f"{flag} is empty")
    if all(isinstance(value, str) for value in values):
        return _with_texts(flag, tokens, values)
    try:
        rows = np.stack([np.asarray(value, dtype=np.float32) for value in values])
    except (TypeError, ValueError):
        raise DataError(
            f"{flag}: a text each, or a row of numbers each, all of one width"
        ) from None
    return _with_rows(flag, tokens, rows)


def _with_texts(what: str, tokens: Sequence[str], texts: Sequence[str]) -> GivenProfiles:
    empty = [token for token, text in zip(tokens, texts) if not text.strip()]
    if empty:
        raise DataError(f"{what}: {len(empty):,} ids have an empty profile: {some(empty)}")
    return GivenProfiles(what, list(tokens), texts=list(texts))


def _with_rows(what: str, tokens: list[str], rows: np.ndarray) -> GivenProfiles:
    if rows.ndim != 2 or len(rows) != len(tokens) or rows.dtype.kind != "f":
        raise EmbeddingError(
            f"{what}: {len(tokens):,} ids and an array of {rows.dtype}, shape {rows.shape}: a row "
            "of floating numbers for each id belongs there"
        )
    if not len(tokens):
        raise DataError(f"{what} is empty")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1))
    if bad.size:
        raise EmbeddingError(
            f"{what}: the rows of {some([tokens[n] for n in bad])} are zero or not finite: mend "
            "or remove them"
        )
    require_unique(tokens, what)
    return GivenProfiles(what, tokens, rows=rows)


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, vectors = arrays["ids"], arrays["vectors"]
    except KeyError:
        raise EmbeddingError(f"{path}: arrays 'ids' and 'vectors' belong in such a .npz") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise EmbeddingError(f"{path} cannot be read as .npz: {why}") from None
    return [str(token) for token in ids.reshape(-1)], np.asarray(vectors)

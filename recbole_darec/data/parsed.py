"""Parsed atomic files, kept beside them: plain arrays, no pickle.

``<file>.parsed.cache`` is a NumPy archive: the key (size, time of change and digest of the file,
and what was asked of it), numbers as they are, and text as the place of each cell among the
distinct ones.  It may be deleted, and is made again; one that is cut short or of another file is,
too.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data.files import file_state, replacing

__all__ = ["WORTH_KEEPING", "parsed_once"]

WORTH_KEEPING = 8 << 20
"""Bytes of a file that is parsed sooner than its cache would be written and read."""

_VERSION = 2
_SAMPLE = 1 << 20
_log = logging.getLogger(__name__)


def parsed_once(path: Path, asked: Mapping[str, Any], parse: Callable[[], Any]) -> Any:
    """Return what ``parse`` makes of a file, from the cache beside it where that fits.

    Args:
        path: of the file.
        asked: how it is parsed, plain values; another way is not read from the cache.
        parse: returns a ``pandas.DataFrame`` of text (``str`` or missing), of categories of
            text, and of float64.
    """
    if path.stat().st_size < WORTH_KEEPING:
        return parse()
    cache = path.with_name(f"{path.name}.parsed.cache")
    key = {"version": _VERSION, "asked": dict(asked), "file": _state(path)}
    found = _read(cache, key)
    if found is not None:
        return found
    frame = parse()
    if _state(path) == key["file"]:  # else it changed while it was read
        _write(cache, key, frame)
    return frame


def _state(path: Path) -> dict[str, Any]:
    return file_state(path, _SAMPLE, middle=True)


def _read(cache: Path, key: Mapping[str, Any]) -> Any | None:
    import pandas as pd

    if not cache.is_file():
        return None
    try:
        with np.load(cache, allow_pickle=False) as held:
            if json.loads(held["key"].tobytes()) != key:
                return None
            columns = {}
            for n, name in enumerate(json.loads(held["columns"].tobytes())):
                if f"numbers{n}" in held:
                    columns[name] = held[f"numbers{n}"]
                    continue
                coded = f"categories{n}" in held
                what = f"categories{n}" if coded else f"texts{n}"
                texts = pd.array(json.loads(held[what].tobytes()), dtype=_text_type())
                places = held[f"places{n}"]  # of a missing cell -1
                columns[name] = (
                    pd.Categorical.from_codes(places, pd.Index(texts, dtype=object))
                    if coded
                    else texts.take(places, allow_fill=True)
                )
            return pd.DataFrame(columns, copy=False)
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile) as error:
        _log.warning("%s is damaged (%s) and is made anew", cache, error)
        return None


def _write(cache: Path, key: Mapping[str, Any], frame: Any) -> None:
    import pandas as pd

    arrays: dict[str, np.ndarray] = {"key": _bytes(key), "columns": _bytes(list(frame.columns))}
    for n, name in enumerate(frame.columns):
        values = frame[name]
        if values.dtype.kind == "f":
            arrays[f"numbers{n}"] = values.to_numpy()
            continue
        if coded := hasattr(values, "cat"):
            places, texts = values.cat.codes.to_numpy(), values.cat.categories
        else:
            places, texts = pd.factorize(values)
        arrays[f"places{n}"] = places.astype(np.int32 if len(texts) < 2**31 else np.int64)
        arrays[f"categories{n}" if coded else f"texts{n}"] = _bytes(list(texts))
    try:
        with replacing(cache) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        _log.warning(
            "%s cannot be kept (%s): the file is parsed again at the next run",
            cache,
            error.strerror or error,
        )


def _bytes(value: Mapping[str, Any] | Sequence[str]) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _text_type() -> Any:
    """Return the type that this pandas reads text as."""
    import pandas as pd

    return pd.Series(["text"], dtype=str).dtype

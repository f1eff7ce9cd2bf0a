"""Columns of text as categories: each distinct text once, and a number for each row.

pandas reads categories, too, and makes numbers of texts such as ``007`` since its third version.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "READ_AS_MISSING",
    "categorical",
    "categories_of",
    "joined_categories",
    "read_categories",
]

_BLOCK = 16 << 20
_ROWS = 1_000_000

READ_AS_MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas reads as missing."""


def categories_of(column: Any) -> Any:
    """Return a ``pandas.Series`` of text as ``pandas.Categorical`` without unused categories."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        used = np.bincount(column.cat.codes + 1, minlength=len(column.cat.categories) + 1)[1:] > 0
        return column.array if used.all() else column.cat.remove_unused_categories().array
    places, texts = pd.factorize(column.to_numpy(dtype=object))
    return pd.Categorical.from_codes(places, pd.Index(texts, dtype=object))


def joined_categories(frames: Sequence[Any]) -> list[Any]:
    """Return tables whose columns of categories have the same ones, so that these are kept."""
    import pandas as pd

    frames = list(frames)
    for name in frames[0].columns if len(frames) > 1 else ():
        columns = [frame[name].array if name in frame else None for frame in frames]
        if not all(isinstance(column, pd.Categorical) for column in columns):
            continue
        joined, end = pd.api.types.union_categoricals(columns), 0
        for n, frame in enumerate(frames):
            begin, end = end, end + len(frame)
            frames[n] = frame.assign(**{name: joined[begin:end]})
    return frames


def read_categories(path: Path, separator: str, columns: Sequence[str]) -> dict[str, Any]:
    """Return columns of a plain UTF-8 table as ``pandas.Categorical`` of text, by name.

    Args:
        path: of the table: rows of equal length, no quotes, its first line names its columns.
        separator: one character.
        columns: those to read.

    Raises:
        ValueError: a cell is no UTF-8, or a row is longer than 16 MiB.
    """
    try:
        import pyarrow
        import pyarrow.csv
    except ImportError:
        return _by_pandas(path, separator, columns)
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=separator, quote_char=False, ignore_empty_lines=False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, text),
            include_columns=list(columns),
            null_values=READ_AS_MISSING,
            strings_can_be_null=True,
        ),
    )
    return {name: categorical(table.column(name)) for name in columns}


def categorical(column: Any) -> Any:
    """Return an Arrow chunked array of dictionaries of text as ``pandas.Categorical``."""
    import pandas as pd

    coded = column.unify_dictionaries().combine_chunks()
    if hasattr(coded, "chunks"):  # as some versions of Arrow leave it
        coded = coded.chunk(0)
    places = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(places, pd.Index(coded.dictionary.to_pylist(), dtype=object))


def _by_pandas(path: Path, separator: str, columns: Sequence[str]) -> dict[str, Any]:
    import pandas as pd

    found: dict[str, list[Any]] = {name: [] for name in columns}
    chunks = pd.read_csv(
        path,
        sep=separator,
        usecols=list(columns),
        dtype=str,
        encoding="utf-8",
        engine="c",
        chunksize=_ROWS,
    )
    with chunks:
        for chunk in chunks:
            for name in columns:
                found[name].append(categories_of(chunk[name]))
    return {name: pd.api.types.union_categoricals(parts) for name, parts in found.items()}

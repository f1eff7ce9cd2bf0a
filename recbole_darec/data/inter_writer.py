"""The rows of an ``.inter`` file, in the form in which pandas writes them.

``DataFrame.to_csv`` takes a step of Python for each row.  Where pyarrow is installed the columns
are joined as text; each distinct number is formatted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["write_rows"]

_ROWS = 1_000_000
_WHOLE = 1e15  # whole numbers below it are written with all their digits


def write_rows(path: Path, frame: Any, header: Sequence[str]) -> None:
    """Write a table, tab-separated, under a header.

    Args:
        path: of the file.
        frame: a ``pandas.DataFrame`` of ids, as text or categories of text, and of floats.
        header: the names of its columns.
    """
    arrow = _pyarrow()
    if arrow is None or not _plain(frame):
        frame.to_csv(
            path, sep="\t", index=False, header=list(header), encoding="utf-8", lineterminator="\n"
        )
        return
    with open(path, "wb") as file:
        file.write(("\t".join(header) + "\n").encode())
        for begin in range(0, len(frame), _ROWS):
            part = frame.iloc[begin : begin + _ROWS]
            columns = [_text(arrow, part[column]) for column in part]
            end = arrow.scalar("", arrow.string())
            rows = arrow.compute.binary_join_element_wise(*columns, "\t")
            rows = arrow.compute.binary_join_element_wise(rows, end, "\n")
            _, offsets, content = rows.buffers()
            size = int.from_bytes(offsets[4 * len(rows) : 4 * len(rows) + 4].to_pybytes(), "little")
            file.write(memoryview(content)[:size])


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError:
        return None
    return pyarrow


def _plain(frame: Any) -> bool:
    """Tell whether no cell is missing, or is text that needs quotes."""
    for column in frame:
        values = frame[column]
        if values.isna().any():
            return False
        if values.dtype.kind == "f":
            continue
        distinct = "".join(values.cat.categories if hasattr(values, "cat") else values.unique())
        if any(mark in distinct for mark in '"\t\n\r'):
            return False
    return True


def _text(arrow: Any, values: Any) -> Any:
    if values.dtype.kind != "f":
        return arrow.array(values).cast(arrow.string())
    numbers = values.to_numpy(dtype="float64")
    whole = numbers.astype("int64") if (abs(numbers) < _WHOLE).all() else None
    if whole is not None and (whole == numbers).all() and not (numbers == 0).any():
        texts = arrow.array(whole).cast(arrow.string())
        return arrow.compute.binary_join_element_wise(texts, arrow.scalar("0"), ".")
    found = arrow.array(numbers).dictionary_encode()
    texts = arrow.array([repr(number) for number in found.dictionary.to_pylist()], arrow.string())
    return arrow.DictionaryArray.from_arrays(found.indices, texts).cast(arrow.string())

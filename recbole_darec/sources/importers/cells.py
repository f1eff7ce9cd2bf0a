"""What stands in a column of ratings or times: numbers, dates, nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import DataError

__all__ = ["TIME", "empty_cells", "first_true", "numbers_of"]

TIME = "timestamp"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def first_true(flags: Any) -> int:
    """The number of the first flagged row of a table, counting from 1."""
    return int(np.argmax(np.asarray(flags, dtype=bool))) + 1


def empty_cells(values: Any) -> np.ndarray:
    """Tell which cells of a column hold nothing, bool ``[rows]``: empty text, null or NaN."""
    import pandas as pd

    empty: np.ndarray = pd.isna(values).to_numpy(dtype=bool)
    if values.dtype == object or pd.api.types.is_string_dtype(values.dtype):
        empty = empty | (values.fillna("").astype(str).str.strip() == "").to_numpy(dtype=bool)
    return empty


def numbers_of(path: Path, column: str, values: Any) -> np.ndarray:
    """Return a column as finite numbers, float64 ``[rows]``.

    Args:
        path: of the table, for messages.
        column: its name; one of times may hold dates, which become seconds since 1970.  A date
            without a zone is in UTC.
        values: the column without empty cells, under its row numbers from 0.

    Raises:
        DataError: a cell is neither; the message has its row.
    """
    import pandas as pd

    if getattr(values.dtype, "kind", "") == "M":
        return _seconds(values)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(numbers)
    if not bad.any():
        return numbers
    row = _row(values, bad)
    cell = str(values[row - 1])
    if column != TIME:
        if _DECIMAL_COMMA.fullmatch(cell.strip()):
            raise DataError(
                f"{path}, row {row}: {column} '{cell}' has a decimal comma: write "
                f"{cell.strip().replace(',', '.')} ({int(bad.sum()):,} such or other rows)"
            )
        raise DataError(f"{path}, row {row}: {column} '{cell}' is no number")
    if not bad.all():
        # Which of the two forms is meant is the user's to say.
        other = _row(values, ~bad)
        raise DataError(
            f"{path}, row {row}: {column} '{cell}' is no number, and row {other} is one "
            f"('{values[other - 1]}'): write all times as seconds, or all as dates"
        )
    times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
    # pandas takes "today" for a time, too.
    begins = values.astype(str).str.match(r"\s*\d{4}-\d{2}").to_numpy(dtype=bool)
    unread = times.isna().to_numpy(dtype=bool) | ~begins
    if unread.any():
        row = _row(values, unread)
        raise DataError(
            f"{path}, row {row}: {column} '{values[row - 1]}' is neither a number nor a time of "
            "the form 2026-11-25 or 2026-11-25T17:40:00Z"
        )
    return _seconds(times)


def _row(values: Any, flags: Any) -> int:
    """Return the number in the file, from 1, of the first flagged cell of a column."""
    return int(values.index[first_true(flags) - 1]) + 1


def _seconds(times: Any) -> np.ndarray:
    """Return dates as seconds since 1970 in UTC."""
    import pandas as pd

    since = (times - pd.Timestamp(0, tz=times.dt.tz)) / pd.Timedelta(seconds=1)
    seconds: np.ndarray = since.to_numpy(dtype=np.float64)
    return seconds

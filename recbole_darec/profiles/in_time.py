"""Leave-one-out: the part of each interaction where a user's last two are held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_darec.data.sequences import leave_one_out, time_order
from recbole_darec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["held_out_last"]


def held_out_last(
    frame: pd.DataFrame, path: Path, names: Mapping[str, str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the interactions by user and time, and their parts of a leave-one-out split.

    Args:
        frame: all of them, as text: ``user_id``, ``item_id``, ``timestamp``.
        path: their file, for messages.
        names: what the columns are called there.

    Raises:
        DataError: there are no times, one is no number, or no user has three interactions.
    """
    if "timestamp" not in frame.columns:
        raise DataError(f"{path} has no column '{names['timestamp']}', by which it is to be split")
    try:
        times = frame["timestamp"].to_numpy(dtype=object).astype(np.float64)
    except ValueError as error:
        raise DataError(f"{path}, column '{names['timestamp']}': {error}") from None
    users = np.unique(frame["user_id"].to_numpy().astype(str), return_inverse=True)[1].reshape(-1)
    order = time_order(users, times)
    return frame.iloc[order].reset_index(drop=True), leave_one_out(users[order])[0]

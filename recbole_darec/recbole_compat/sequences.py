"""Sequential data: in order before RecBole turns times into float32, and never augmented."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import numpy as np

from recbole_darec.data.sequences import leave_one_out, time_order
from recbole_darec.errors import DataError

__all__ = ["check_times", "split_in_time"]


def check_times(dataset: Any, frame: Any, name: str) -> None:
    """Refuse interactions without times, before RecBole fills gaps with the mean of the others.

    Args:
        dataset: RecBole's data set, not yet processed.
        frame: its interactions, a ``pandas.DataFrame``.
        name: the data set's name.

    Raises:
        DataError: there is no column of times, or it has gaps.
    """
    field = dataset.time_field
    if not field or field not in frame:
        raise DataError(
            f"data set '{name}' has no times ({field or 'TIME_FIELD'}:float), or load_col leaves "
            "them out, and a sequential model needs the order: name the column with TIME_FIELD and "
            "load it with load_col"
        )
    missing = int((~np.isfinite(frame[field].to_numpy(dtype=np.float64))).sum())
    if missing:
        raise DataError(
            f"data set '{name}': {field} is missing in {missing:,} of {len(frame):,} interactions, "
            "whose place in a sequence is not known: mend or drop them"
        )


def split_in_time(dataset: Any, name: str) -> None:
    """Put interactions in order of time and hold out each user's last two, as three parts.

    Works around: RecBole sorts by times that are float32 by then, in which seconds since 1970 are
    steps of 64 and more; it makes a copy of the sequence for each of its prefixes, in a loop; and
    it splits these copies, so that a user with three interactions is tested and not validated.

    Args:
        dataset: RecBole's data set, whose interactions are still a ``pandas.DataFrame``; its build
            then takes consecutive rows as the parts.
        name: its name, for messages.

    Raises:
        DataError: no user has three interactions.
    """
    frame = dataset.inter_feat
    users = frame[dataset.uid_field].to_numpy()
    order = time_order(users, frame[dataset.time_field].to_numpy(dtype=np.float64))
    labels, short = leave_one_out(users[order])
    if short:
        getLogger().warning(
            f"{short:,} users of '{name}' have fewer than three interactions: they are trained on, "
            "and not ranked for"
        )
    # Users with three come in each part; the order within a part stays.
    order = order[np.argsort(labels, kind="stable")]
    dataset.inter_feat = frame.iloc[order].reset_index(drop=True)
    dataset.benchmark_filename_list = ["train", "valid", "test"]
    dataset.file_size_list = np.bincount(labels, minlength=3).tolist()

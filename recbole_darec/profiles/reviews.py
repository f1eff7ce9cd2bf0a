"""The reviews of training interactions, as prompts show them.

A line of a reviews file may say the rank of its interaction, which is its time where a data set is
held out by time: then the review of a pair that comes again is that of the very interaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_darec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["all_reviews", "ranked", "read_reviews"]


def read_reviews(
    train: pd.DataFrame, path: Path | None, wanted: Mapping[tuple[str, str], Any]
) -> dict[tuple[str, str], str]:
    """Return the first review of each pair of ``wanted`` that is a training pair and has one.

    Args:
        train: the training interactions, and no other.
        path: the reviews file, None where there is none.
        wanted: the pairs as keys.

    Raises:
        DataError: a line of the reviews file is malformed.
    """
    found: dict[tuple[str, str], str] = {}
    for pair, text in all_reviews(train, path):
        if pair in wanted:
            found.setdefault(pair, text)
    return found


def all_reviews(train: pd.DataFrame, path: Path | None) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each training pair with its review, where it has one; others are passed over.

    Args:
        train: the training interactions, and no other.
        path: the reviews file, None where there is none.

    Raises:
        DataError: a line of the reviews file is malformed.
    """
    if "review" in train.columns:
        columns: Sequence[Any] = [train[c] for c in ("user_id", "item_id", "review")]
        for user, item, text in zip(*columns):
            if text.strip():
                yield (user, item), text
        return
    if path is None:
        return
    keys = ["user_id", "item_id"]
    with_rank = ranked(path)
    if with_rank and "timestamp" not in train.columns:
        raise DataError(f"{path} names ranks, and the interactions have no times to hold them to")
    known = set(zip(*(train[c] for c in (keys + ["timestamp"] * with_rank))))
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                pair, text = (str(row["user_id"]), str(row["item_id"])), row["review"]
                key = (*pair, str(row["rank"])) if with_rank else pair
            except (ValueError, KeyError, TypeError, RecursionError):
                raise DataError(
                    f"{path}, line {number}: not a JSON object with user_id, item_id"
                    f"{', rank' * with_rank} and review"
                ) from None
            if key in known and isinstance(text, str) and text.strip():
                yield pair, text


def ranked(path: Path) -> bool:
    """Tell whether the first line of a reviews file names the rank of its interaction."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"{}")
    try:
        return "rank" in json.loads(first)
    except (ValueError, TypeError, RecursionError):
        return False  # malformed, which is said where it is read

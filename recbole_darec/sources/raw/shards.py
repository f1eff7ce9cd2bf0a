"""Several raw files that are one: the pieces of a release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from recbole_darec.errors import DataError, some

__all__ = ["matching", "only", "only_group"]

# full-00000-of-00007.parquet, and the parts of a split that somebody else made
_PIECE = re.compile(r"-\d+-of-\d+|\.(?:train|valid|test)(?=\.)")


def matching(files: Iterable[Path], pattern: str) -> list[Path]:
    """Return the files whose names in lower case match a pattern whole."""
    return [path for path in files if re.fullmatch(pattern, path.name.lower())]


def only(paths: Sequence[Path], kind: str) -> Path | None:
    """Return the one file of a kind, None for none.

    Raises:
        DataError: there are several; ``--KIND`` can name one.
    """
    if len(paths) > 1:
        raise DataError(
            f"there are several files with {kind} ({some(paths)}): name one with --{kind}"
        )
    return paths[0] if paths else None


def only_group(paths: Sequence[Path], kind: str) -> list[Path]:
    """Return the one file of a kind, or all the pieces of one, in order.

    Raises:
        DataError: there are several; ``--KIND`` can name one.
    """
    groups: dict[Path, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.with_name(_PIECE.sub("", path.name)), []).append(path)
    if len(groups) > 1:
        only([group[0] for group in groups.values()], kind)
    return sorted(next(iter(groups.values()), []))

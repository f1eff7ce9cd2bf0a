"""Errors that a user can mend.

Every class here stands for bad input: the command line prints the message as one line and exits
with code 2, without a traceback.  The message names the thing that is wrong and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_INTERRUPTED",
    "CheckpointError",
    "DataError",
    "EmbeddingError",
    "MissingExtraError",
    "OptionError",
    "UserError",
    "first_line",
    "is_out_of_memory",
    "nearest",
    "some",
]

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """Bad input, told in one line that names the thing and the way out."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class OptionError(UserError):
    """An option is unknown, of the wrong type, or out of its range."""


class DataError(UserError):
    """An interaction or profile file is missing, malformed, or contradicts another one."""


class EmbeddingError(DataError):
    """A profile-embedding file is missing, malformed, or does not cover the data set."""


class CheckpointError(UserError):
    """A checkpoint is damaged, or belongs to another model or data set."""


class MissingExtraError(UserError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package '{package}', which is not installed: "
            f"pip install 'recbole-darec[{extra}]'"
        )
        self._named = (package, extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        # Pickle would make it anew from its message alone; a worker of a cluster sends it so.
        return type(self), self._named


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, or the error's kind where it has none."""
    return (str(error).splitlines() or [""])[0].rstrip(". ") or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; torch raises a plain RuntimeError on a CPU, another on a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known name closest to ``name``, or ``""``."""
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" (did you mean '{by_lower[close[0]]}'?)" if close else ""


def some(names: Iterable[object], limit: int = 5, total: int | None = None) -> str:
    """Join the first ``limit`` names with commas, and say how many more there are.

    Args:
        names: all of them, or the first ones.
        limit: how many are shown.
        total: how many there are in all; by default as many as ``names``.
    """
    names = list(names)
    shown = names[:limit]
    more = (len(names) if total is None else total) - len(shown)
    return ", ".join(map(str, shown)) + (f", … ({more:,} more)" if more > 0 else "")

"""From users' and items' own ids, in files and on the command line, to row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import DataError, some

__all__ = ["Ids", "ids_of", "read_tokens", "tokens_of"]


class Ids:
    """The ids of one kind: tokens of the data set, row numbers of the model.

    Args:
        kind: ``"user"`` or ``"item"``, for messages.
        tokens: token of each row; row 0 is padding.
    """

    def __init__(self, kind: str, tokens: Sequence[str]) -> None:
        self.kind = kind
        self.tokens = np.asarray(tokens, dtype=object)
        self._rows = {str(token): row for row, token in enumerate(tokens) if row}

    def __len__(self) -> int:
        """Return the number of rows, padding included."""
        return len(self.tokens)

    def rows(self, tokens: Sequence[str]) -> np.ndarray:
        """Return the row of each token, int64; -1 for one that the model does not know."""
        found = [self._rows.get(str(token), -1) for token in tokens]
        return np.asarray(found, dtype=np.int64)

    def known_rows(self, tokens: Sequence[str], where: str) -> np.ndarray:
        """Return the row of each token.

        Args:
            tokens: ids.
            where: what holds them, for the message.

        Raises:
            DataError: the model does not know one; the message has their number and the first.
        """
        rows = self.rows(tokens)
        unknown = [str(token) for token, row in zip(tokens, rows) if row < 0]
        if unknown:
            raise DataError(
                f"{where}: {len(unknown):,} of {len(tokens):,} {self.kind}s are not in the model's "
                f"data: {some(unknown)}"
            )
        return rows


def ids_of(dataset: Any, kind: str) -> Ids:
    """Return the ids of a RecBole data set's users or items."""
    field = dataset.uid_field if kind == "user" else dataset.iid_field
    return Ids(kind, dataset.field2id_token[field])


def tokens_of(asked: str, flag: str) -> list[str] | None:
    """Return the ids that an argument names: a file's lines, or itself split at commas.

    Args:
        asked: ``all``, a file, or ids with commas between them.
        flag: the argument, for messages.

    Returns:
        The ids, each once, in their order; None for all.

    Raises:
        DataError: the file cannot be read or has no id.
    """
    if asked == "all":
        return None
    if Path(asked).is_file():
        return read_tokens(Path(asked), flag)
    if "/" in asked or Path(asked).suffix in (".txt", ".csv", ".tsv"):
        raise DataError(f"{flag}: there is no file '{asked}'")
    found = list(dict.fromkeys(part.strip() for part in asked.split(",") if part.strip()))
    if not found:
        raise DataError(f"{flag} names nobody: give ids with commas between them, a file, or all")
    return found


def read_tokens(path: Path, flag: str) -> list[str]:
    """Return the ids of a file with one per line, each once; blank lines are left out.

    Raises:
        DataError: it cannot be read, is no UTF-8, or has no id.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{flag}: '{path}' cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{flag}: '{path}' is not UTF-8 text with one id per line") from None
    found = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not found:
        raise DataError(f"{flag}: '{path}' has no id; one per line belongs there")
    return found

"""Files that are written whole or not at all, and a bar while they are read."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

__all__ = ["progress", "replacing"]

_Item = TypeVar("_Item")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name in the same folder, and rename it when it is whole.

    Readers see the old content or the new, never a part.  If the body fails, nothing is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def progress(items: Iterable[_Item], what: str, total: int | None = None) -> Iterable[_Item]:
    """Show a bar on standard error while going through ``items``; none where it is no terminal."""
    from tqdm import tqdm

    bar: Iterable[_Item] = tqdm(
        items, desc=what, total=total, file=sys.stderr, disable=None, leave=False
    )
    return bar

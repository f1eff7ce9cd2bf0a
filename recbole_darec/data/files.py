"""Files: written whole or not at all, told apart by their content, with a bar while read."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from recbole_darec.errors import DataError

__all__ = ["file_digest", "file_state", "keeping_ctrl_c", "progress", "replacing"]

_Item = TypeVar("_Item")
_BLOCK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name in the same folder, and rename it when it is whole.

    Readers see the old content or the new, never a part.  If the body fails, nothing is left.

    Raises:
        DataError: the path has no name, as ``.`` and the empty one.
        OSError: it cannot be written, a folder's among others.
    """
    if not path.name:
        raise DataError(f"'{path}' is a folder, not a file to write: add a name")
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


@contextmanager
def keeping_ctrl_c() -> Iterator[None]:
    """Raise Ctrl-C as it is: PyTorch's writer hides one that comes in the middle of a write.

    It goes on, and complains of the file in a ``RuntimeError``.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def file_state(path: Path, sample: int, *, middle: bool = False) -> dict[str, Any]:
    """Return size, time of change, and a digest of beginning and end, by which a cache is kept.

    Args:
        path: of the file.
        sample: bytes of each place that is read.
        middle: whether the middle is read, too.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        stat = os.fstat(file.fileno())
        digest = hashlib.blake2b(digest_size=16)
        places = [0, stat.st_size // 2] if middle else [0]
        for place in (*places, max(0, stat.st_size - sample)):
            file.seek(place)
            digest.update(file.read(sample))
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "digest": digest.hexdigest()}


def progress(items: Iterable[_Item], what: str, total: int | None = None) -> Iterable[_Item]:
    """Show a bar on standard error while going through ``items``; none where it is no terminal."""
    from tqdm import tqdm

    bar: Iterable[_Item] = tqdm(
        items, desc=what, total=total, file=sys.stderr, disable=None, leave=False
    )
    return bar

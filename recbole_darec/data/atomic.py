"""RecBole's atomic files: writing one data set's folder, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_darec.data.categories import READ_AS_MISSING
from recbole_darec.data.files import replacing
from recbole_darec.data.inter_writer import write_rows
from recbole_darec.errors import DataError, some

__all__ = [
    "SPLITS",
    "all_sound",
    "check_dataset_name",
    "check_tokens",
    "inter_header",
    "staged_folder",
    "token_fault",
    "write_dataset_yaml",
    "write_inter",
    "write_profiles",
]

SPLITS = ("train", "valid", "test")

# What an import writes, after "<name>."; --overwrite removes these and nothing else.
_SUFFIXES = frozenset(
    [
        "yaml",
        "inter",
        "user",
        "item",
        "reviews.jsonl",
        "profile.json",
        *(f"{split}.inter" for split in SPLITS),
    ]
    + [
        f"{kind}{suffix}"
        for kind in ("user", "item")
        for suffix in ("profile.jsonl", "emb.npy", "emb.tokens", "emb.json")
    ]
)

_FIELD_TYPES = {
    "user_id": "token",
    "item_id": "token",
    "rating": "float",
    "timestamp": "float",
}

# RecBole reads tokens with pandas' defaults, which take these for missing values, and then drops
# their interactions without a word; "[PAD]" is its own token for row 0.
_LOST_TOKENS = frozenset([*READ_AS_MISSING, "[PAD]"])
# Control characters, line and paragraph separators, and lone surrogates (which UTF-8 cannot hold).
_BAD_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_dataset_name(name: str) -> str:
    """Return ``name`` if it can name a data set's folder and files; raise :class:`DataError`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DataError(
            f"'{name}' cannot name a data set: use letters, digits, '.', '_' and '-' only"
        )
    if name == "ml-100k":
        raise DataError(
            "RecBole reads its own packaged files for the name 'ml-100k', wherever others lie: "
            "choose another --dataset name"
        )
    return name


def token_fault(token: str) -> str:
    """Say what RecBole's reader would do wrong with this id, or return ``""`` for a sound one."""
    if token in _LOST_TOKENS:
        return f"the id '{token}' reads as missing in RecBole" if token else "an empty id"
    # All bad characters are unprintable, which is told faster than by the pattern.
    if not token.isprintable() and _BAD_CHARACTERS.search(token):
        return f"the id {token!a} has a tab, a line break or another control character"
    return ""


def all_sound(tokens: Collection[str]) -> bool:
    """Tell whether :func:`token_fault` has nothing against any of these ids."""
    return _plainly_sound(tokens) or not any(map(token_fault, tokens))


def _plainly_sound(tokens: Collection[str]) -> bool:
    return _LOST_TOKENS.isdisjoint(tokens) and "".join(tokens).isprintable()


def check_tokens(tokens: Any, where: str, first: int = 1) -> None:
    """Raise :class:`DataError` at the first id that RecBole's reader would lose or split.

    Args:
        tokens: the ids, in file order; a ``pandas.Series`` of categories is checked by these.
        where: what holds them, for the message ("interactions.csv, column user_id").
        first: the number of the first row, for the message.
    """
    if hasattr(tokens, "cat") and _plainly_sound(tokens.cat.categories):
        return
    known: set[str] = set()
    for row, token in enumerate(tokens, first):
        if token in known:
            continue
        fault = token_fault(token)
        if fault:
            raise DataError(f"{where}, row {row}: {fault}; rename it")
        known.add(token)


@contextmanager
def staged_folder(
    target: Path, overwrite: bool = False, *, replaceable: Collection[str] | None = None
) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes ``target`` when the block ends well.

    When the block fails, or is interrupted, nothing is left behind, and a ``target`` that was there
    before is as it was.

    Args:
        target: the folder.
        overwrite: replace it where it exists.
        replaceable: names of the files that may be replaced; by default those that an import of
            this name writes.

    Raises:
        DataError: ``target`` exists and ``overwrite`` is not set, or holds other files than the
            replaceable ones; or the folder cannot be written.
    """
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise DataError(f"{target} exists: give --overwrite to replace it, or another --out")
        if replaceable is None:
            replaceable = {f"{target.name}.{suffix}" for suffix in _SUFFIXES}
        foreign = (
            sorted({p.name for p in target.iterdir() if not _is_cache(p)} - set(replaceable))
            if target.is_dir() and not target.is_symlink()
            else [target.name]
        )
        if foreign:
            raise DataError(
                f"{target} is not replaced, since it holds what this command did not write "
                f"({some(foreign)}): move that away or give another --out"
            )
    made = [p for p in (target.parent, *target.parent.parents) if not p.exists()]
    mark = uuid.uuid4().hex[:12]
    stage = target.parent / f".{target.name}.importing-{mark}"
    old = target.parent / f".{target.name}.replaced-{mark}"
    try:
        stage.mkdir(parents=True)
        yield stage
        if target.exists():
            os.replace(target, old)
        os.replace(stage, target)
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        if old.exists() and not target.exists():
            os.replace(old, target)
        for folder in made:
            try:
                folder.rmdir()
            except OSError:
                break
        if isinstance(error, OSError):
            raise DataError(
                f"cannot write {target}: {error.strerror or error}; free space there or give "
                "another --out"
            ) from error
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_cache(path: Path) -> bool:
    """Tell whether a file is what a run kept of others beside them, which may be deleted."""
    return path.suffix == ".cache" and path.name.startswith(f"{path.parent.name}.")


def inter_header(columns: Iterable[str]) -> list[str]:
    """Return the first line of an ``.inter`` file: each of its columns with RecBole's type."""
    return [f"{column}:{_FIELD_TYPES[column]}" for column in columns]


def write_inter(folder: Path, name: str, splits: Mapping[str, Any]) -> list[Path]:
    """Write interactions as RecBole reads them.

    Args:
        folder: an existing folder.
        name: the data set's name.
        splits: part -> ``pandas.DataFrame`` with the columns ``user_id`` and ``item_id`` (text)
            and, where there are, ``rating`` and ``timestamp`` (float).  The part ``""`` is written
            as ``<name>.inter``, ``"train"`` as ``<name>.train.inter``, and so on.

    Returns:
        The files written, one a part.
    """
    paths = []
    for split, frame in splits.items():
        path = folder / (f"{name}.{split}.inter" if split else f"{name}.inter")
        columns = [column for column in _FIELD_TYPES if column in frame.columns]
        write_rows(path, frame[columns], inter_header(columns))
        paths.append(path)
    return paths


def write_profiles(
    folder: Path, name: str, kind: str, ids: Sequence[str], texts: Sequence[str]
) -> Path:
    """Write ``<name>.<kind>profile.jsonl`` (``kind``: user or item), one ``{id, profile}`` a line.

    The n-th line belongs to ``ids[n]``; an older file is replaced when the new one is whole.  Half
    of a surrogate pair, as a cut text may end with, is written as "?".
    """
    path = folder / f"{name}.{kind}profile.jsonl"
    with replacing(path) as file:
        for token, text in zip(ids, texts):
            line = json.dumps({"id": token, "profile": text}, ensure_ascii=False) + "\n"
            file.write(line.encode("utf-8", "replace"))
    return path


def write_dataset_yaml(
    folder: Path,
    name: str,
    columns: Sequence[str],
    fixed_split: bool,
    note: str,
    *,
    leave_one_out: bool = False,
) -> Path:
    """Write ``<name>.yaml``: the RecBole settings with which this data set must be read.

    Args:
        folder: an existing folder.
        name: the data set's name.
        columns: the columns of its ``.inter`` files.
        fixed_split: whether these are ``<name>.{train,valid,test}.inter``.
        note: one line that says where the data came from.
        leave_one_out: whether each user's last two are held out, by time, when a run begins.
    """
    lines = [
        f"# {' '.join(note.split())}",
        "USER_ID_FIELD: user_id",
        "ITEM_ID_FIELD: item_id",
        "load_col:",
        f"  inter: [{', '.join(columns)}]",
    ]
    if "rating" in columns:
        lines.append("RATING_FIELD: rating")
    if "timestamp" in columns:
        lines.append("TIME_FIELD: timestamp")
    parts = f"[{', '.join(SPLITS)}]" if fixed_split else "~  # split by RecBole's eval_args"
    lines.append(f"benchmark_filename: {parts}")
    if leave_one_out:
        lines.append(
            "eval_args: {split: {LS: valid_and_test}, group_by: user, order: TO, mode: full}"
        )
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

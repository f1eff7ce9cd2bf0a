"""The profile embeddings E^L of a data set: found, read, checked, in the order of its ids."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.embeddings.controls import CONTROLS, apply_control
from recbole_darec.embeddings.formats import exists, files_of, read_table
from recbole_darec.embeddings.lookup import MISSING, Coverage, lookup, match_tokens
from recbole_darec.errors import EmbeddingError, OptionError

__all__ = ["EmbeddingOptions", "ProfileEmbeddings", "load_embeddings", "profile_files"]

_SUFFIX = {"user": ".useremb", "item": ".itememb"}
_KINDS = ("user", "item")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddingOptions:
    """Where profile embeddings come from and what is done to them.

    Attributes:
        user_file: the users' file, instead of ``<dataset>.useremb``.
        item_file: the items' file, instead of ``<dataset>.itememb``.
        missing: what an id without a profile embedding gets: ``error``, ``mean`` or ``zero``.
        control: ``none``, ``shuffle`` or ``random``; see ``controls``.
        control_seed: seed of the control, not below 0.
        expected_width: number of columns that the files must have; None takes any.
    """

    user_file: str | None = None
    item_file: str | None = None
    missing: str = "error"
    control: str = "none"
    control_seed: int = 0
    expected_width: int | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("missing_profile", self.missing, MISSING),
            ("profile_control", self.control, CONTROLS),
        ):
            if value not in choices:
                raise OptionError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if self.control_seed < 0:
            raise OptionError(f"profile_control_seed must not be negative: {self.control_seed}")
        if self.expected_width is not None and self.expected_width < 1:
            raise OptionError(f"profile_width must be at least 1: {self.expected_width}")


@dataclass(frozen=True, eq=False)
class ProfileEmbeddings:
    """Frozen profile embeddings E^L, indexed by RecBole's internal ids.

    Attributes:
        users: [n_users, width] with a zero row 0 for the padding; None where users have none.
        items: [n_items, width] likewise; None where items have none.
        width: number of columns of both.
        coverage: one per kind that is there.
        meta: per kind (``user``, ``item``): ``file``, and what the file says about its making.
    """

    users: np.ndarray | None
    items: np.ndarray | None
    width: int
    coverage: tuple[Coverage, ...]
    meta: dict[str, dict[str, Any]] = field(default_factory=dict)


def load_embeddings(
    directories: Sequence[str | Path],
    dataset: str,
    user_tokens: Sequence[str] | None,
    item_tokens: Sequence[str] | None,
    options: EmbeddingOptions,
    *,
    some: bool = False,
) -> ProfileEmbeddings:
    """Find, read and check the profile embeddings of a data set.

    Args:
        directories: where to look for ``<dataset>.useremb[.npy]`` and ``<dataset>.itememb[.npy]``;
            the first that has the file counts, for each kind by itself.
        dataset: name of the data set.
        user_tokens: token of each internal user id, ``[PAD]`` first; None to leave the users out.
        item_tokens: token of each internal item id, likewise.
        options: files, missing rows, controls.
        some: whether one of the two kinds may have no file, unless the options name one.

    Returns:
        The embeddings; coverage is also logged, one line per kind.

    Raises:
        EmbeddingError: a file is not found or malformed, does not cover the data set, or its width
            is not the expected one or not the other kind's.
        ValueError: both are None.
    """
    tokens_of = {"user": user_tokens, "item": item_tokens}
    named = {"user": options.user_file, "item": options.item_file}
    kinds = [kind for kind in _KINDS if tokens_of[kind] is not None]
    if not kinds:
        raise ValueError("neither user_tokens nor item_tokens is given")

    if some:
        found = [s for s in kinds if named[s] is not None or _there(directories, dataset, s)]
        # With neither, the error below says where was looked.
        kinds = found or kinds
    tables = {s: read_table(_find(directories, dataset, s, named[s])) for s in kinds}
    for table in tables.values():
        if options.expected_width not in (None, table.width):
            raise EmbeddingError(
                f"{table.path} has {table.width:,} columns, but profile_width is "
                f"{options.expected_width:,}: correct the option or take other embeddings"
            )
    widths = {s: t.width for s, t in tables.items()}
    if len(set(widths.values())) > 1:
        raise EmbeddingError(
            f"{tables['user'].path} has {widths['user']:,} columns and {tables['item'].path} has "
            f"{widths['item']:,}: users and items need embeddings of one encoder"
        )

    matrices: dict[str, np.ndarray] = {}
    coverage = []
    meta = {}
    for kind in kinds:
        tokens, table = tokens_of[kind], tables[kind]
        assert tokens is not None
        matrix, covered = lookup(table, tokens, kind=kind, missing=options.missing)
        _log.info("%s: %s", table.path, covered.describe())
        if options.control != "none":
            # Only rows of the file: a filled-in row must not change places with one.
            rows = np.flatnonzero(match_tokens(table, tokens) >= 0)
            seed = (options.control_seed, _KINDS.index(kind))
            matrix = apply_control(matrix, options.control, seed, rows)
        matrices[kind] = matrix
        coverage.append(covered)
        meta[kind] = {**table.meta, "file": str(table.path)}
    return ProfileEmbeddings(
        users=matrices.get("user"),
        items=matrices.get("item"),
        width=widths[kinds[0]],
        coverage=tuple(coverage),
        meta=meta,
    )


def profile_files(
    directories: Sequence[str | Path],
    dataset: str,
    kinds: Sequence[str],
    named: Mapping[str, str | None],
) -> list[Path]:
    """Return the files that :func:`load_embeddings` would read, of the kinds that have any.

    Args:
        directories: where to look; the first that has a kind's file counts.
        dataset: name of the data set.
        kinds: ``user``, ``item`` or both.
        named: a file by kind, instead of a search.
    """
    found: list[Path] = []
    for kind in kinds:
        for place in _places(directories, dataset, kind, named.get(kind)):
            if exists(place):
                found += files_of(place)
                break
    return found


def _there(directories: Sequence[str | Path], dataset: str, kind: str) -> bool:
    return any(exists(Path(d) / f"{dataset}{_SUFFIX[kind]}") for d in directories)


def _find(directories: Sequence[str | Path], dataset: str, kind: str, named: str | None) -> Path:
    """Return the first place that has the kind's file."""
    places = _places(directories, dataset, kind, named)
    for place in places:
        if exists(place):
            return place
    looked = ", ".join(f"{p}[.npy]" if p.suffix != ".npy" else str(p) for p in places)
    raise EmbeddingError(
        f"no profile embeddings of the {kind}s of {dataset}: looked for {looked or 'nothing'}; "
        f"bring them in with 'recbole-darec import', name the file with {kind}_profile_file=PATH, "
        f"or train without them (--align=none)"
    )


def _places(
    directories: Sequence[str | Path], dataset: str, kind: str, named: str | None
) -> list[Path]:
    if named is None:
        return [Path(d) / f"{dataset}{_SUFFIX[kind]}" for d in directories]
    name = Path(named).expanduser()
    return [name] if name.is_absolute() else [name, *(Path(d) / name for d in directories)]

"""The profile embeddings E^L of a data set: found, read, checked, in the order of its ids.

They are copied into memory, or, where they would take more than a quarter of it, into a file in
float16 that is mapped: a training step then reads the rows that it samples, and no others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.embeddings.cache import fingerprint
from recbole_darec.embeddings.components import WHITENINGS, Components
from recbole_darec.embeddings.controls import CONTROLS, apply_control
from recbole_darec.embeddings.formats import exists, files_of, read_table
from recbole_darec.embeddings.lookup import MISSING, Coverage, cover, fill
from recbole_darec.embeddings.mapped import MappedRows, mapped_rows
from recbole_darec.embeddings.stored import digest_of, stored_rows, too_large
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
        components: number of principal directions that the rows are reduced to; None keeps all.
        whiten: ``none``, ``pca`` or ``zca``; see ``components``.
    """

    user_file: str | None = None
    item_file: str | None = None
    missing: str = "error"
    control: str = "none"
    control_seed: int = 0
    expected_width: int | None = None
    components: int | None = None
    whiten: str = "none"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("missing_profile", self.missing, MISSING),
            ("profile_control", self.control, CONTROLS),
            ("profile_whiten", self.whiten, WHITENINGS),
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
        rows: [N, width], the rows of each kind's ids from 1 on, users above items; mapped from a
            file where they are too large for the memory.
        slices: where the rows of each kind that is there stand in ``rows``.
        coverage: one per kind that is there.
        meta: per kind (``user``, ``item``): ``file``, and what the file says about its making.
        in_file: the one kind's rows where they stay in their file; ``rows`` is empty then.
    """

    rows: np.ndarray
    slices: dict[str, slice]
    coverage: tuple[Coverage, ...]
    meta: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_file: MappedRows | None = None

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.rows.shape[1])

    @property
    def users(self) -> np.ndarray | None:
        """A copy [n_users, width] with a zero row 0 for the padding; None where users have none."""
        return self._padded("user")

    @property
    def items(self) -> np.ndarray | None:
        """A copy [n_items, width] likewise; None where items have none."""
        return self._padded("item")

    def _padded(self, kind: str) -> np.ndarray | None:
        if kind not in self.slices:
            return None
        return _with_padding(self.rows[self.slices[kind]])


def load_embeddings(
    directories: Sequence[str | Path],
    dataset: str,
    user_tokens: Sequence[str] | None,
    item_tokens: Sequence[str] | None,
    options: EmbeddingOptions,
    *,
    some: bool = False,
    training: Mapping[str, np.ndarray] | None = None,
    mapped_from: int | None = None,
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
        training: ids of each kind that the training part has, which the principal directions are
            taken from; None takes all.
        mapped_from: from how many bytes on the rows of one kind alone, unchanged, may stay in their
            file; None: never.

    Returns:
        The embeddings; coverage is also logged, one line per kind.

    Raises:
        EmbeddingError: a file is not found or malformed, does not cover the data set, or its width
            is not the expected one or not the other kind's; what was kept of them beside them
            is damaged or of other data.
        OptionError: the components are more than the columns or the rows, or cannot be whitened.
        ValueError: both are None.
    """
    tokens_of = {"user": user_tokens, "item": item_tokens}
    named = {"user": options.user_file, "item": options.item_file}
    kinds = [kind for kind in _KINDS if tokens_of[kind] is not None]
    if not kinds:
        raise ValueError("neither user_tokens nor item_tokens is given")

    if some:
        there = [s for s in kinds if named[s] is not None or _there(directories, dataset, s)]
        # With neither, the error below says where was looked.
        kinds = there or kinds
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

    found: dict[str, np.ndarray] = {}
    coverage, meta, slices, n_rows = [], {}, {}, 0
    for kind in kinds:
        tokens, table = tokens_of[kind], tables[kind]
        assert tokens is not None
        found[kind], covered = cover(table, tokens, kind=kind, missing=options.missing)
        _log.info("%s: %s", table.path, covered.describe())
        coverage.append(covered)
        meta[kind] = {**table.meta, "file": str(table.path)}
        slices[kind] = slice(n_rows, n_rows + covered.n_ids)
        n_rows += covered.n_ids

    half = all(table.matrix.dtype.itemsize == 2 for table in tables.values())
    dtype = np.dtype(np.float16 if half else np.float32)
    width = widths[kinds[0]]
    components = None
    if options.components is not None or options.whiten != "none":
        learnt_from = {k: ids if training is None else ids[training[k]] for k, ids in found.items()}
        components = Components(options.components, options.whiten, tables, learnt_from)
        width = components.width
    unchanged = components is None and options.control == "none"
    if mapped_from is not None and unchanged and len(kinds) == 1:
        (kind,) = kinds
        tokens = tokens_of[kind]
        assert tokens is not None
        stay = mapped_rows(tables[kind], found[kind], tokens, kind=kind, mapped_from=mapped_from)
        if stay is not None:
            return ProfileEmbeddings(np.zeros((0, width), dtype), {}, tuple(coverage), meta, stay)
    large = too_large((n_rows, width), dtype)

    def write(rows: np.ndarray) -> None:
        for kind, where in slices.items():
            tokens = tokens_of[kind]
            assert tokens is not None
            fill(
                rows[where],
                tables[kind],
                found[kind],
                tokens,
                kind=kind,
                missing=options.missing,
                change=components,
            )

    if components is None and not large:
        rows = np.zeros((n_rows, width), dtype)
        write(rows)
    else:
        key = {
            "missing": options.missing,
            "files": {kind: fingerprint(table.path) for kind, table in tables.items()},
            "rows": {kind: digest_of(ids) for kind, ids in found.items()},
            "components": None if components is None else components.key(),
        }
        rows = stored_rows(
            tables[kinds[-1]].path.parent / f"{dataset}.profiles",
            key,
            (n_rows, width),
            np.dtype(np.float16) if large else dtype,
            write,
            mapped=large,
        )
    if options.control != "none":
        for kind, where in slices.items():
            # Only rows of the file: a filled-in row must not change places with one.
            own = np.flatnonzero(found[kind] >= 0)
            seed = (options.control_seed, _KINDS.index(kind))
            matrix = _with_padding(rows[where])
            rows[where] = apply_control(matrix, options.control, seed, own)[1:]
    return ProfileEmbeddings(rows, slices, tuple(coverage), meta)


def _with_padding(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, rows.shape[1]), rows.dtype), rows])


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

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
from recbole_darec.embeddings.components import Components
from recbole_darec.embeddings.controls import apply_control
from recbole_darec.embeddings.formats import read_table
from recbole_darec.embeddings.lookup import Coverage, cover, fill
from recbole_darec.embeddings.mapped import MappedRows, mapped_rows
from recbole_darec.embeddings.options import EmbeddingOptions
from recbole_darec.embeddings.places import found_file, is_there
from recbole_darec.embeddings.stored import digest_of, stored_rows, too_large
from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.errors import EmbeddingError

__all__ = ["ProfileEmbeddings", "load_embeddings"]

_KINDS = ("user", "item")

_log = logging.getLogger(__name__)


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
    tokens = {kind: ids for kind, ids in tokens_of.items() if ids is not None}
    if not tokens:
        raise ValueError("neither user_tokens nor item_tokens is given")
    tables = _tables(directories, dataset, list(tokens), options, some=some)
    parts = _parts({kind: tokens[kind] for kind in tables}, tables, options.missing)
    coverage = tuple(part.coverage for part in parts)
    meta = {p.kind: {**p.table.meta, "file": str(p.table.path)} for p in parts}
    components = _components(parts, options, training)
    stays = None
    if mapped_from is not None and components is None and options.control == "none":
        stays = _in_its_file(parts, mapped_from)
    if stays is not None:
        none = np.zeros((0, parts[0].table.width), _dtype(parts))
        return ProfileEmbeddings(none, {}, coverage, meta, stays)
    rows = _rows(parts, dataset, options.missing, components)
    if options.control != "none":
        _control(rows, parts, options)
    return ProfileEmbeddings(rows, {part.kind: part.where for part in parts}, coverage, meta)


@dataclass(frozen=True)
class _Part:
    """One kind: its file, and where its ids stand in the file and in E^L.

    Attributes:
        kind: ``user`` or ``item``.
        tokens: of each id, the padding's first.
        table: what was read from the file.
        found: row of each id in the file, -1 where it has none.
        coverage: of the ids.
        where: the kind's rows of E^L.
    """

    kind: str
    tokens: Sequence[str]
    table: EmbeddingTable
    found: np.ndarray
    coverage: Coverage
    where: slice


def _tables(
    directories: Sequence[str | Path],
    dataset: str,
    kinds: list[str],
    options: EmbeddingOptions,
    *,
    some: bool,
) -> dict[str, EmbeddingTable]:
    """Read the files of the kinds that are there; all of one width, the expected one."""
    named = {"user": options.user_file, "item": options.item_file}
    if some:
        there = [k for k in kinds if named[k] is not None or is_there(directories, dataset, k)]
        # With neither, the error below says where was looked.
        kinds = there or kinds
    tables = {k: read_table(found_file(directories, dataset, k, named[k])) for k in kinds}
    for table in tables.values():
        if options.expected_width not in (None, table.width):
            raise EmbeddingError(
                f"{table.path} has {table.width:,} columns, but profile_width is "
                f"{options.expected_width:,}: correct the option or take other embeddings"
            )
    if len({table.width for table in tables.values()}) > 1:
        users, items = tables["user"], tables["item"]
        raise EmbeddingError(
            f"{users.path} has {users.width:,} columns and {items.path} has "
            f"{items.width:,}: users and items need embeddings of one encoder"
        )
    return tables


def _parts(
    tokens: Mapping[str, Sequence[str]], tables: Mapping[str, EmbeddingTable], missing: str
) -> list[_Part]:
    """Look the ids of each kind up in its file; users stand above items."""
    parts: list[_Part] = []
    n_rows = 0
    for kind, table in tables.items():
        found, covered = cover(table, tokens[kind], kind=kind, missing=missing)
        _log.info("%s: %s", table.path, covered.describe())
        where = slice(n_rows, n_rows + covered.n_ids)
        parts.append(_Part(kind, tokens[kind], table, found, covered, where))
        n_rows = where.stop
    return parts


def _dtype(parts: list[_Part]) -> np.dtype:
    """Return float16 where all files are, else float32."""
    half = all(part.table.matrix.dtype.itemsize == 2 for part in parts)
    return np.dtype(np.float16 if half else np.float32)


def _components(
    parts: list[_Part], options: EmbeddingOptions, training: Mapping[str, np.ndarray] | None
) -> Components | None:
    """Return the principal directions that the rows are reduced to, None where they are not."""
    if options.components is None and options.whiten == "none":
        return None
    learnt_from = {
        p.kind: p.found if training is None else p.found[training[p.kind]] for p in parts
    }
    tables = {part.kind: part.table for part in parts}
    return Components(options.components, options.whiten, tables, learnt_from)


def _in_its_file(parts: list[_Part], mapped_from: int) -> MappedRows | None:
    """Return the rows of one kind alone as they stand in its file, where they are to stay there."""
    if len(parts) > 1:
        return None
    (part,) = parts
    return mapped_rows(part.table, part.found, part.tokens, kind=part.kind, mapped_from=mapped_from)


def _rows(
    parts: list[_Part], dataset: str, missing: str, components: Components | None
) -> np.ndarray:
    """Copy the rows of all ids into memory; large or reduced ones are kept beside the files."""
    width = parts[0].table.width if components is None else components.width
    shape, dtype = (parts[-1].where.stop, width), _dtype(parts)
    large = too_large(shape, dtype)

    def write(rows: np.ndarray) -> None:
        for part in parts:
            fill(
                rows[part.where],
                part.table,
                part.found,
                part.tokens,
                kind=part.kind,
                missing=missing,
                change=components,
            )

    if components is None and not large:
        rows = np.zeros(shape, dtype)
        write(rows)
        return rows
    key = {
        "missing": missing,
        "files": {part.kind: fingerprint(part.table.path) for part in parts},
        "rows": {part.kind: digest_of(part.found) for part in parts},
        "components": None if components is None else components.key(),
    }
    stem = parts[-1].table.path.parent / f"{dataset}.profiles"
    kept_dtype = np.dtype(np.float16) if large else dtype
    return stored_rows(stem, key, shape, kept_dtype, write, mapped=large)


def _control(rows: np.ndarray, parts: list[_Part], options: EmbeddingOptions) -> None:
    """Put a control into the place of the rows."""
    for part in parts:
        # Only rows of the file: a filled-in row must not change places with one.
        own = np.flatnonzero(part.found >= 0)
        seed = (options.control_seed, _KINDS.index(part.kind))
        matrix = _with_padding(rows[part.where])
        rows[part.where] = apply_control(matrix, options.control, seed, own)[1:]


def _with_padding(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, rows.shape[1]), rows.dtype), rows])

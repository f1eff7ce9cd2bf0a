"""What every importer ends with: checked parts in, one whole data set folder and a report out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.data import atomic
from recbole_darec.errors import DataError, EmbeddingError, some

__all__ = ["Coverage", "ImportReport", "KindData", "check_matrix", "write_import"]

_CHECK_ROWS = 4096


@dataclass
class KindData:
    """What is known about the users, or about the items, besides their interactions.

    Attributes:
        text_ids: the id of each text in ``texts``.
        texts: profile texts; empty when there are none.
        matrix_ids: the id of each row of ``matrix``.
        matrix: profile embeddings, shape ``(len(matrix_ids), width)``, or ``None``.
    """

    text_ids: Sequence[str] = ()
    texts: Sequence[str] = ()
    matrix_ids: Sequence[str] = ()
    matrix: np.ndarray | None = None


@dataclass
class Coverage:
    """How far profile texts or embeddings reach: ``covered`` of the ``total`` users or items."""

    rows: int
    covered: int
    total: int
    width: int | None = None
    missing: list[str] = field(default_factory=list)
    """The first few ids of the interactions that have none."""

    def __str__(self) -> str:
        rows = f"{self.rows:,} rows" + (f" of width {self.width}" if self.width else "")
        share = 100 * self.covered / max(self.total, 1)
        # rounding must not make 99.99 % look like all
        if self.covered < self.total:
            share = min(share, 99.9)
        text = f"{rows}, for {self.covered:,} of {self.total:,} ({share:.1f} %)"
        if self.missing:
            text += f"; none for {some(self.missing, 3, self.total - self.covered)}"
        return text


@dataclass
class ImportReport:
    """What one import read and wrote.

    Attributes:
        dataset: the data set's name.
        folder: where it lies now.
        users, items: distinct ids in the interactions.
        interactions: part -> rows, ``{"all": n}`` without a fixed split.
        coverage: ``"user profiles"``, ``"item embeddings"``, … -> :class:`Coverage`.
        duplicates: repeated pairs that were dropped.
        overlaps: pairs that stand in more than one part, and were kept.
        cold_users, cold_items: those of valid and test without a training interaction.
        dropped: how many rows were left out, by reason.
        files: names of the files written.
        seconds: wall time.
    """

    dataset: str
    folder: Path
    users: int
    items: int
    interactions: dict[str, int]
    coverage: dict[str, Coverage] = field(default_factory=dict)
    duplicates: int = 0
    overlaps: int = 0
    cold_users: int = 0
    cold_items: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def density(self) -> float:
        """Interactions over users × items, between 0 and 1."""
        return sum(self.interactions.values()) / max(self.users * self.items, 1)

    def table(self) -> str:
        """Return the report as aligned lines."""
        rows: list[tuple[str, str]] = [
            ("users", f"{self.users:,}"),
            ("items", f"{self.items:,}"),
        ]
        for part, count in self.interactions.items():
            name = "interactions" if part == "all" else f"interactions, {part}"
            rows.append((name, f"{count:,}"))
        rows.append(("density", f"{100 * self.density:.3f} %"))
        rows += [(what, str(coverage)) for what, coverage in self.coverage.items()]
        rows += [(reason, f"{count:,}") for reason, count in self.dropped.items()]
        rows.append(("duplicates dropped", f"{self.duplicates:,}"))
        if self.overlaps:
            rows.append(("pairs in two parts, kept", f"{self.overlaps:,}"))
        if self.cold_users or self.cold_items:
            cold = f"{self.cold_users:,} users, {self.cold_items:,} items"
            rows.append(("without training data", cold))
        rows.append(("files", ", ".join(self.files)))
        width = max(len(name) for name, _ in rows)
        head = f"{self.dataset} -> {self.folder} ({self.seconds:.1f} s)"
        return "\n".join([head, *(f"  {name:<{width}}  {value}" for name, value in rows)])


def check_matrix(matrix: np.ndarray, ids: Sequence[str], where: str, ids_from: str) -> np.ndarray:
    """Check a matrix of profile embeddings against the ids of its rows.

    Args:
        matrix: of any float dtype, shape ``(rows, width)``.
        ids: the id of each row.
        where: the file that the matrix came from, for messages.
        ids_from: what the ids came from, for messages.

    Returns:
        The matrix itself, or as float32 where it was wider.

    Raises:
        EmbeddingError: it is no matrix of floats, has another number of rows, or holds NaN or Inf
            (also when a float64 does not fit into float32).
    """
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or not matrix.shape[1]:
        raise EmbeddingError(
            f"{where} holds {matrix.dtype} of shape {matrix.shape}: profile embeddings are floats "
            "of shape (rows, width)"
        )
    if len(matrix) != len(ids):
        raise EmbeddingError(
            f"{where} has {len(matrix):,} rows, but {ids_from} names {len(ids):,}: "
            "row n must belong to id n"
        )
    if matrix.dtype.itemsize > 4:
        with np.errstate(over="ignore"):
            matrix = matrix.astype(np.float32)
    for start in range(0, len(matrix), _CHECK_ROWS):
        finite = np.isfinite(matrix[start : start + _CHECK_ROWS]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise EmbeddingError(
                f"{where}: row {row} (id '{ids[row]}') holds NaN or Inf; encode that text again"
            )
    return matrix


def write_import(
    *,
    dataset: str,
    out: Path,
    parts: Mapping[str, Any],
    users: KindData,
    items: KindData,
    note: str,
    overwrite: bool,
    duplicates: int,
    overlaps: int,
    started: float,
    dropped: Mapping[str, int] | None = None,
) -> ImportReport:
    """Write ``out/dataset`` and report what it holds.

    Args:
        dataset: the data set's name.
        out: the folder of data sets (RecBole's ``data_path``).
        parts: ``train``, ``valid`` and ``test``, or ``""`` alone -> ``pandas.DataFrame`` with the
            columns ``user_id`` and ``item_id`` (text), maybe ``rating`` and ``timestamp``.
        users, items: their profile texts and embeddings, already checked.
        note: one line for the yaml that says where the data came from.
        overwrite: replace an earlier import of that name.
        duplicates, overlaps: counted by the importer, for the report.
        started: ``time.perf_counter()`` when the import began.
        dropped: rows that the importer left out, by reason, for the report.

    Raises:
        DataError: a part is empty, the folder exists, or cannot be written.
    """
    for part, frame in parts.items():
        if not len(frame):
            raise DataError(
                f"'{dataset}' has no {part or 'interactions'} rows: RecBole needs train, valid and "
                "test interactions"
                if part
                else f"'{dataset}' has no interactions"
            )
    fixed = "" not in parts
    columns = [str(column) for column in next(iter(parts.values())).columns]
    ids = {c: _distinct(frame[c] for frame in parts.values()) for c in ("user_id", "item_id")}
    report = ImportReport(
        dataset=dataset,
        folder=out / dataset,
        users=len(ids["user_id"]),
        items=len(ids["item_id"]),
        interactions={part or "all": len(frame) for part, frame in parts.items()},
        duplicates=duplicates,
        overlaps=overlaps,
        dropped=dict(dropped or {}),
    )
    if fixed:
        report.cold_users = report.users - len(_distinct([parts["train"]["user_id"]]))
        report.cold_items = report.items - len(_distinct([parts["train"]["item_id"]]))

    from recbole_darec.embeddings.formats import write_binary

    with atomic.staged_folder(out / dataset, overwrite) as folder:
        atomic.write_inter(folder, dataset, parts)
        for kind, found in (("user", users), ("item", items)):
            known = ids[f"{kind}_id"]
            if found.texts:
                atomic.write_profiles(folder, dataset, kind, found.text_ids, found.texts)
                report.coverage[f"{kind} profiles"] = _coverage(known, found.text_ids, None)
            if found.matrix is not None:
                stem = folder / f"{dataset}.{kind}emb"
                write_binary(stem, found.matrix_ids, found.matrix, {"source": note})
                width = int(found.matrix.shape[1])
                report.coverage[f"{kind} embeddings"] = _coverage(known, found.matrix_ids, width)
        atomic.write_dataset_yaml(folder, dataset, columns, fixed, note)
        report.files = sorted(path.name for path in folder.iterdir())
    report.seconds = time.perf_counter() - started
    return report


def _distinct(columns: Iterable[Any]) -> dict[str, None]:
    """The distinct values of some columns, in order of appearance."""
    found: dict[str, None] = {}
    for column in columns:
        found.update(dict.fromkeys(column.unique()))
    return found


def _coverage(known: Mapping[str, None], ids: Sequence[str], width: int | None) -> Coverage:
    have = set(ids)
    missing = [token for token in known if token not in have]
    return Coverage(len(ids), len(known) - len(missing), len(known), width, missing[:5])

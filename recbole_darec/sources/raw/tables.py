"""The texts of items or users, out of a raw file into an atomic one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_darec.sources.importers.base import Coverage
from recbole_darec.sources.raw.lines import Faults, LineFault, read_lines
from recbole_darec.sources.raw.report import PrepareReport
from recbole_darec.sources.raw.source import Table
from recbole_darec.sources.raw.texts import MAX_CELL, cell, table_writer

__all__ = ["write_table"]


def write_table(
    folder: Path, table: Table, ids: Sequence[str], faults: Faults, report: PrepareReport
) -> None:
    """Write ``.item`` or ``.user``: of each id that is left the first record, in file order.

    Args:
        folder: an existing folder.
        table: the raw file.
        ids: the ids that are left.
        faults: counts lines that cannot be used.
        report: gets the coverage.

    Raises:
        DataError: the file cannot be read, or has too many faults.
    """
    missing = set(ids)
    filled = [0] * len(table.columns)
    path = folder / f"{report.dataset}.{table.kind}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = table_writer(file)
        writer.writerow([f"{table.kind}_id:token", *table.columns])
        for line in read_lines(table.path, faults, f"reading {table.kind}s"):
            record = _record(table, line, faults)
            if record is None or record[0] not in missing:
                continue
            missing.remove(record[0])
            report.cut += sum(len(text) > MAX_CELL for text in record[1])
            cells = [cell(text) for text in record[1]]
            filled = [n + bool(text) for n, text in zip(filled, cells)]
            writer.writerow([record[0], *cells])
    written = len(ids) - len(missing)
    if not written:
        path.unlink()  # a table without rows would be no help, and RecBole cannot read one
    example = [token for token in ids if token in missing][:3]
    what = f"{table.kind} texts"
    report.coverage[what] = Coverage(written, written, len(ids), missing=example)
    for column, count in zip(table.columns, filled):
        label = f"{table.kind} {column.partition(':')[0]}"
        report.coverage[label] = Coverage(count, count, len(ids))


def _record(table: Table, line: bytes, faults: Faults) -> tuple[str, Sequence[str]] | None:
    if not line.strip():
        faults.mend("empty line")
        return None
    try:
        return table.parse(line)
    except LineFault as fault:
        faults.add(str(fault))
    except RecursionError:
        faults.add("nested too deeply")
    return None

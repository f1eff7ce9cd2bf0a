"""The tables of a data set: the texts of the users and items that are left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from recbole_darec.sources.importers.base import Coverage
from recbole_darec.sources.raw.files import read_file
from recbole_darec.sources.raw.lines import Faults, LineFault, Record
from recbole_darec.sources.raw.report import PrepareReport
from recbole_darec.sources.raw.source import Beside, Table
from recbole_darec.sources.raw.texts import MAX_CELL, cell, table_writer

__all__ = ["name_of", "write_table"]


def name_of(path: Path, among: Sequence[Path]) -> str:
    """Return a file's name, with its folder where several files have that name."""
    alone = sum(other.name == path.name for other in among) < 2
    return path.name if alone else f"{path.parent.name}/{path.name}"


def write_table(
    folder: Path, table: Table, ids: Sequence[str], max_faults: float, report: PrepareReport
) -> None:
    """Write ``.item`` or ``.user``: of each id that is left the first record, in file order."""
    missing = set(ids)
    known = [_read_beside(beside, missing, max_faults, report) for beside in table.beside]
    filled = [0] * len(table.columns)
    path = folder / f"{report.dataset}.{table.kind}"
    files = [table.path, *table.more]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = table_writer(file)
        writer.writerow([f"{table.kind}_id:token", *table.columns])
        for raw in files:
            faults = Faults(name_of(raw, files), max_faults)
            report.faults.append(faults)
            for line in read_file(raw, faults, f"reading {table.kind}s", table.fields):
                record = _record(table.parse, line, faults)
                if record is None or record[0] not in missing:
                    continue
                missing.remove(record[0])
                texts = list(record[1])
                for beside, found in zip(table.beside, known):
                    _fill(record[0], texts, beside, found)
                report.cut += sum(len(text) > MAX_CELL for text in texts)
                cells = [cell(text) for text in texts]
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


def _read_beside(
    beside: Beside, ids: Collection[str], max_faults: float, report: PrepareReport
) -> dict[str, Sequence[str]]:
    """Return the texts of a file beside a table by their key."""
    faults = Faults(beside.path.name, max_faults)
    report.faults.append(faults)
    found: dict[str, Sequence[str]] = {}
    for line in read_file(beside.path, faults, f"reading {beside.path.name}"):
        record = _record(beside.parse, line, faults)
        if record is not None and (not beside.by_id or record[0] in ids):
            found.setdefault(*record)
    return found


def _fill(owner: str, texts: list[str], beside: Beside, found: Mapping[str, Sequence[str]]) -> None:
    if beside.by_id:
        for place, text in zip(beside.columns, found.get(owner, ())):
            texts[place] = text or texts[place]
        return
    place = beside.columns[0]
    texts[place] = ", ".join(found[key][0] for key in texts[place].split() if key in found)


def _record(
    parse: Callable[[Record], tuple[str, Sequence[str]] | None], line: Record, faults: Faults
) -> tuple[str, Sequence[str]] | None:
    if not line or (isinstance(line, bytes) and not line.strip()):
        faults.mend("empty line")
        return None
    try:
        return parse(line)
    except LineFault as fault:
        faults.add(str(fault))
    except RecursionError:
        faults.add("nested too deeply")
    return None

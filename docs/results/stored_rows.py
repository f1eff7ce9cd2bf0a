"""Put stored rows into a study's store, so that ``recbole-darec compare`` makes their table.

    python docs/results/stored_rows.py STUDY.yaml ROWS.csv [ROWS.csv ...] --store FILE.sqlite
    recbole-darec compare STUDY.yaml --store FILE.sqlite --table --figures

The rows of this folder were measured before studies had a store.  A row is a run's if it has the
run's options; the data sets lie under ``dataset/``, since a run is known by its data, too.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import DataError
from recbole_darec.settings.values import parse_value
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.plan import make_plan
from recbole_darec.studies.resolved import Resolved, Resolver
from recbole_darec.studies.results import Store, open_results
from recbole_darec.studies.study import Study, read_study

_OF_ALL = ("num_threads", "valid_metric", "seed")  # the same for all rows, or in a column


def main() -> int:
    """Fill the store; returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", help="a yaml, or the name of a bundled study")
    parser.add_argument("rows", nargs="+", type=Path, help="files of this folder")
    parser.add_argument("--store", required=True, type=Path)
    args = parser.parse_args()
    study = read_study(args.study)
    rows = [row for path in args.rows for row in _read(path)]
    with open_results(args.store) as store:
        filled = _fill(study, store, rows)
        left = make_plan(study, Resolver(study.folder, store.digest_of), store.rows())
    total = len(left.keys) + left.n_waiting
    print(f"{filled} of {total} runs of study '{study.name}' are in {args.store}")
    return 0


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{error.strerror} '{path}'") from None


def _fill(study: Study, store: Store, rows: list[dict[str, str]]) -> int:
    """Keep every row that is a run's; tuned methods have their runs once they are chosen."""
    by_run = {_of_row(row): row for row in rows}
    filled: set[str] = set()
    while True:
        before = len(filled)
        plan = make_plan(study, Resolver(study.folder, store.digest_of), store.rows())
        for run in plan.runs:
            row = by_run.get(_of_run(run))
            if row is not None and run.key not in filled:
                _keep(store, run, row)
                filled.add(run.key)
        if len(filled) == before:
            return before


def _of_row(row: dict[str, str]) -> tuple[str, ...]:
    options = dict(part.split("=", 1) for part in row["options"].split())
    return _place(
        row["dataset"], row["model"], int(row["seed"]),
        {name: parse_value(text) for name, text in options.items()},
    )  # fmt: skip


def _of_run(run: Resolved) -> tuple[str, ...]:
    method = run.trial.method
    given = {**run.trial.given, "align": method.align}
    return _place(method.dataset, method.model, run.trial.seed, given)


def _place(dataset: str, model: str, seed: int, options: dict[str, Any]) -> tuple[str, ...]:
    kept = (f"{name}={value}" for name, value in options.items() if name not in _OF_ALL)
    return (dataset, model, str(seed), *sorted(kept))


def _keep(store: Store, run: Resolved, row: dict[str, str]) -> None:
    method = run.trial.method
    store.add(
        {
            "key": run.key, "dataset": method.dataset, "model": method.model,
            "align": method.align, "seed": run.trial.seed, "options": dict(run.values),
            "data": run.data, "state": "running",
        }
    )  # fmt: skip
    test = {
        name: float(value) for name, value in row.items() if "@" in name and name[:5] != "valid"
    }
    valid = {"recall@20": float(row["valid_recall@20"])}
    best = int(row["best_epoch"])
    outcome = Outcome("done", None, valid, test, best, seconds=float(row["seconds"]))
    store.finish(run.key, outcome, "")


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Do two installations of RecBole, NumPy and pandas train to the same numbers?

    pinned/bin/python docs/results/stack_equality.py train pinned.csv
    current/bin/python docs/results/stack_equality.py train current.csv
    python docs/results/stack_equality.py compare pinned.csv current.csv --out both.csv

``train`` runs LightGCN, SGL and NCL, each alone and with DaRec, for a few epochs on ml-100k, with
one seed and one thread, and writes every metric with all its digits. ``compare`` prints the largest
difference of each run and ends with 1 where one is above the tolerance.
"""

from __future__ import annotations

import argparse
import csv
import math
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import DataError

RUNS = [(model, align) for model in ("LightGCN", "SGL", "NCL") for align in ("none", "darec")]
# NCL clusters from the second epoch on, not from the 20th, so that its E-step is compared too.
OPTIONS = {"NCL": {"warm_up_step": 1, "m_step": 1}}
KEY = ("model", "align", "part", "metric")
COLUMNS = (*KEY, "value", "stack")


def main() -> int:
    """Train and write, or compare what was written."""
    args = _arguments()
    if args.work == "train":
        _train(args.file, args.epochs, args.seed)
        return 0
    return _compare(args.first, args.second, args.tolerance, args.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    works = parser.add_subparsers(dest="work", required=True)
    train = works.add_parser("train", help="train on the installation that this Python has")
    train.add_argument("file", type=Path, metavar="FILE.csv")
    train.add_argument("--epochs", type=int, default=5)
    train.add_argument("--seed", type=int, default=2020)
    compare = works.add_parser("compare", help="compare the metrics of two installations")
    compare.add_argument("first", type=Path, metavar="FIRST.csv")
    compare.add_argument("second", type=Path, metavar="SECOND.csv")
    compare.add_argument("--tolerance", type=float, default=1e-6)
    compare.add_argument("--out", type=Path, metavar="FILE.csv", help="write both, side by side")
    return parser.parse_args()


def _train(path: Path, epochs: int, seed: int) -> None:
    from recbole_darec import run_recbole_darec

    libraries = ("numpy", "pandas", "scipy", "torch", "recbole")
    names = [f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in libraries)]
    with path.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        common = {
            "epochs": epochs, "seed": seed, "num_threads": 1, "use_gpu": False,
            "show_progress": False, "state": "ERROR", "checkpoint_dir": folder,
        }  # fmt: skip
        for model, align in RUNS:
            options = {**common, **OPTIONS.get(model, {}), "align": align}
            result = run_recbole_darec(model, "ml-100k", config_dict=options)
            for part in ("best_valid_result", "test_result"):
                for metric, value in result[part].items():
                    row = [model, align, part.split("_")[-2], metric, repr(float(value))]
                    writer.writerow([*row, ", ".join(names)])
            file.flush()


def read_metrics(path: Path) -> dict[tuple[str, ...], float]:
    """Return a file's metrics by model, aligner, part and name.

    Raises:
        DataError: the file has other columns, or no rows.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(COLUMNS) <= rows[0].keys():
        raise DataError(f"'{path}' is not a file of stack_equality.py train")
    return {tuple(row[name] for name in KEY): float(row["value"]) for row in rows}


def _compare(first: Path, second: Path, tolerance: float, out: Path | None) -> int:
    ours, theirs = read_metrics(first), read_metrics(second)
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())[0]
        raise DataError(f"only one of '{first}' and '{second}' has {' '.join(odd)}")
    if out is not None:
        with out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*KEY, first.stem, second.stem])
            writer.writerows([*key, repr(ours[key]), repr(theirs[key])] for key in ours)
    print("| model | align | metrics | largest difference |\n| --- | --- | --- | --- |")
    largest = 0.0
    for model, align in dict.fromkeys(key[:2] for key in ours):
        keys = [key for key in ours if key[:2] == (model, align)]
        difference = max(_apart(ours[key], theirs[key]) for key in keys)
        largest = max(largest, difference)
        print(f"| {model} | {align} | {len(keys)} | {difference:.1e} |")
    return int(largest > tolerance)


def _apart(one: float, other: float) -> float:
    difference = abs(one - other)
    return math.inf if math.isnan(difference) else difference


if __name__ == "__main__":
    sys.exit(exit_code(main))

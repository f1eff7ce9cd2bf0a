"""Train variants on the same seeds and compare them: mean, deviation, paired t-test.

    python benchmarks/compare.py --dataset xrec_yelp --seeds 1 2 3 \\
        --variant none="align=none" --variant darec="align=darec" \\
        --variant shuffled="align=darec profile_control=shuffle" --out results.csv

One row a run is appended to ``--out`` the moment the run ends.  A run whose row is there already is
not repeated, and one that was cut off goes on from its last snapshot (``seconds`` then counts its
last part only).  The first variant is the reference of the tests.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.significance import compare_paired
from recbole_darec.settings.values import parse_value

METRICS = ("recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20")
COLUMNS = ("dataset", "model", "variant", "options", "seed", "best_epoch", "valid_recall@20",
           *METRICS, "seconds")  # fmt: skip


def main() -> None:
    """Run what is missing, then print the comparison."""
    args = _arguments()
    variants = dict(_variant(text) for text in args.variant)
    common = " ".join(args.common)
    done = read_rows(args.out)
    for seed in args.seeds:
        for name, options in variants.items():
            key = (args.dataset, args.model, name, str(seed))
            row = done.get(key)
            if row is not None and row["options"] != f"{common} {options}".strip():
                raise OptionError(
                    f"{args.out} has {key} with other options: {row['options']}; "
                    "give another --out or another name for the variant"
                )
            if row is None:
                done[key] = train_row(
                    args.dataset, args.model, name, f"{common} {options}".strip(), seed
                )
                append_row(args.out, done[key])
    _report(args, list(variants), done)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", default="LightGCN")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument(
        "--variant", action="append", required=True, metavar='NAME="option=value ..."'
    )
    parser.add_argument(
        "--common", nargs="*", default=[], metavar="option=value", help="options of all variants"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--metric", nargs="+", default=["recall@20", "ndcg@20"])
    return parser.parse_args()


def _variant(text: str) -> tuple[str, str]:
    name, equals, options = text.partition("=")
    if not equals:
        raise OptionError(f'--variant {text} is not of the form NAME="option=value ..."')
    return name, options


def options_of(text: str) -> dict[str, Any]:
    return {
        key: parse_value(value) for key, _, value in (word.partition("=") for word in text.split())
    }


def train_row(dataset: str, model: str, name: str, options: str, seed: int) -> dict[str, str]:
    """Train one run and return its row."""
    from recbole_darec import run_recbole_darec

    # Where and how a run is done has no part in the row: the same options, the same row.
    quiet = {"show_progress": False, "state": "ERROR", "snapshot_every": 3, "resume": True}
    start = time.perf_counter()
    result = run_recbole_darec(
        model, dataset, config_dict={**quiet, **options_of(options), "seed": seed}
    )
    row = {
        "dataset": dataset,
        "model": model,
        "variant": name,
        "options": options,
        "seed": str(seed),
        "best_epoch": str(result["best_epoch"]),
        "valid_recall@20": f"{result['best_valid_result']['recall@20']:.6f}",
        **{metric: f"{result['test_result'][metric]:.6f}" for metric in METRICS},
        "seconds": f"{time.perf_counter() - start:.0f}",
    }
    Path(result["model_file"]).unlink(missing_ok=True)
    print(f"{model} {name} seed {seed}: recall@20 {row['recall@20']} in {row['seconds']} s",
          file=sys.stderr)  # fmt: skip
    return row


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Return a file's rows by data set, model, variant and seed; none where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(r["dataset"], r["model"], r["variant"], r["seed"]): r for r in rows}


def append_row(path: Path, row: dict[str, str]) -> None:
    """Add one row to a file, which is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _report(
    args: argparse.Namespace, variants: list[str], done: dict[tuple[str, ...], dict[str, str]]
) -> None:
    print(f"{args.model} on {args.dataset}, seeds {args.seeds}; reference: {variants[0]}\n")
    print("| variant | metric | mean | deviation | gain | p |")
    print("| --- | --- | --- | --- | --- | --- |")
    for metric in args.metric:
        values = {
            name: [float(done[args.dataset, args.model, name, str(s)][metric]) for s in args.seeds]
            for name in variants
        }
        for name in variants:
            found = compare_paired(values[name], values[variants[0]])
            print(
                f"| {name} | {metric} | {found.mean:.4f} | {found.deviation:.4f} "
                f"| {100 * found.gain:+.1f} % | {found.p_value:.3g} |"
            )
            other = variants[0] if name == variants[0] else None
            if other is None and name != variants[-1]:
                against = compare_paired(values[name], values[variants[-1]])
                print(
                    f"| {name} against {variants[-1]} | {metric} |  |  "
                    f"| {100 * against.gain:+.1f} % | {against.p_value:.3g} |"
                )


if __name__ == "__main__":
    sys.exit(exit_code(main))

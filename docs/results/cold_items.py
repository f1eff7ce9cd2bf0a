"""How each method ranks items that were held out whole, next to what reads no model.

    python docs/results/cold_items.py --dataset xrec_yelp --seeds 1 2 3 \\
        --common eval_step=3 stopping_step=10 --out docs/results/cold_items.csv

Each run holds a tenth of the items out with all their interactions (``cold_items=0.1``), the same
ones for each seed and method.  One row for each ranker of a run is appended to ``--out`` the moment
it ends; a run whose rows are there is not repeated.  Then the means over the seeds are printed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

from recbole_darec.cli.ending import exit_code
from recbole_darec.settings.values import parse_value

METHODS = {
    "none": "align=none",
    "rlmrec_con": "align=rlmrec_con kd_weight=0.01",
    "rlmrec_gen": "align=rlmrec_gen kd_weight=0.01",
    "kar": "align=kar kar_hidden=[]",
    "darec": "align=darec align_lambda=0.01 align_sample=1024",
    "relational": "align=relational",
    "relational_con": "align=relational_con",
    "text_filter": "align=text_filter",
}
KINDS = ("cold", "cold_all", "warm_all")
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
CELLS = [f"{kind}_{metric}" for kind in KINDS for metric in METRICS]
COLUMNS = ("dataset", "model", "method", "options", "seed", "ranker", "how", "best_epoch",
           "test_recall@20", "test_ndcg@20", *CELLS, "seconds")  # fmt: skip
SHOWN = ("cold_recall@20", "cold_ndcg@20", "cold_all_recall@20", "cold_all_ndcg@20",
         "warm_all_recall@20", "test_recall@20")  # fmt: skip
# Rankers that read nothing of the trained model are shown once.
OF_NO_MODEL = ("content", "popularity", "random")


def main() -> None:
    """Train what is missing, then print the table."""
    args = _arguments()
    for seed in args.seeds:
        for method in args.methods:
            options = f"{' '.join(args.common)} cold_items={args.share} {METHODS[method]}".strip()
            if not _rows(args, method, seed):
                _append(args.out, _measured(args, method, options, seed))
    _report(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", default="LightGCN")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--common", nargs="*", default=[], metavar="option=value")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    return parser.parse_args()


def _measured(
    args: argparse.Namespace, method: str, options: str, seed: int
) -> list[dict[str, str]]:
    """Train one run, and return a row for each ranker."""
    from recbole_darec import evaluate_cold_items, run_recbole_darec

    quiet = {"show_progress": False, "state": "ERROR", "snapshot_every": 0}
    start = time.perf_counter()
    result = run_recbole_darec(
        args.model, args.dataset, config_dict={**quiet, **_options(options), "seed": seed}
    )
    found = evaluate_cold_items(result["model_file"])
    Path(result["model_file"]).unlink()
    seconds = time.perf_counter() - start
    print(f"{args.dataset} {method} seed {seed} in {seconds:.0f} s", file=sys.stderr)
    of_run: dict[str, Any] = {
        "dataset": args.dataset,
        "model": args.model,
        "method": method,
        "options": options,
        "seed": seed,
        "best_epoch": result["best_epoch"],
        "test_recall@20": f"{result['test_result']['recall@20']:.6f}",
        "test_ndcg@20": f"{result['test_result']['ndcg@20']:.6f}",
        "seconds": f"{seconds:.0f}",
    }
    return [
        {
            **of_run,
            "ranker": ranker,
            "how": found.how if ranker == "model" else ranker,
            **{f"{kind}_{m}": f"{metrics[kind][m]:.6f}" for kind in KINDS for m in METRICS},
        }
        for ranker, metrics in found.metrics.items()
    ]


def _options(text: str) -> dict[str, Any]:
    return {
        key: parse_value(value) for key, _, value in (word.partition("=") for word in text.split())
    }


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _rows(args: argparse.Namespace, method: str, seed: int) -> list[dict[str, str]]:
    wanted = {"dataset": args.dataset, "model": args.model, "method": method, "seed": str(seed)}
    return [row for row in _read(args.out) if wanted.items() <= row.items()]


def _append(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _report(args: argparse.Namespace) -> None:
    print(f"| method | by | {' | '.join(SHOWN)} |")
    print(f"| --- | --- |{' --- |' * len(SHOWN)}")
    for method in args.methods:
        rows = [row for seed in args.seeds for row in _rows(args, method, seed)]
        for ranker in ("model", "profile_knn", *(OF_NO_MODEL if method == "none" else ())):
            if ranker == "profile_knn" and method == "none":
                continue  # its own way
            mine = [row for row in rows if row["ranker"] == ranker]
            name = ranker if ranker in OF_NO_MODEL else method
            cells = []
            for column in SHOWN:
                mean = sum(float(row[column]) for row in mine) / len(mine)
                of_model = column.startswith("test")  # whatever ranks the held-out items
                cells.append("" if of_model and ranker != "model" else f"{mean:.4f}")
            print(f"| {name} | {mine[0]['how']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(exit_code(main))

#!/usr/bin/env python
"""Two ways to choose the weight w of the text filter beside a backbone, on the same trained model.

    python benchmarks/fusion_weight.py --dataset xrec_yelp --seeds 1 \\
        --common edge_keep_rate=0.8 eval_step=3 stopping_step=10 --out fusion_weight.csv

``validation`` is the product's: the run is trained, then w is chosen on the validation part.
``inside`` reads no validation data: a fifth of each user's training items is held out, backbone and
filter are made of the rest, and w is chosen on what was held out; it costs a second training.  Both
are then read on the model of the first training, at each w of 0, 0.1 … 1.  A row for each w is
appended to ``--out``; a pair of data set, model and seed whose rows are there is not repeated.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from recbole_darec.cli.ending import exit_code
from recbole_darec.settings.values import parse_value

COLUMNS = ("dataset", "model", "seed", "weight", "valid_recall@20", "test_recall@20",
           "by_validation", "inside")  # fmt: skip
WEIGHTS = [n / 10 for n in range(11)]


def main() -> None:
    """Train what is missing, then print what each way chose."""
    args = _arguments()
    for seed in args.seeds:
        key = (args.dataset, args.model, str(seed))
        if not any(tuple(row[c] for c in COLUMNS[:3]) == key for row in _rows(args.out)):
            _append(args.out, _measured(args, seed))
    print("| data set | backbone | seed | w by | w | valid | test |\n|" + " --- |" * 7)
    for row in _rows(args.out):
        for way in ("by_validation", "inside"):
            if float(row["weight"]) == float(row[way]):
                shown = [way.removeprefix("by_"), row["weight"], *list(row.values())[4:6]]
                print(f"| {' | '.join([*list(row.values())[:3], *shown])} |")


def _measured(args: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    from recbole_darec.loaded import evaluate_run, load_run

    with tempfile.TemporaryDirectory() as folder:
        inside = _chosen(args, seed, _reduced(args, Path(folder)), folder)[0]
        by_validation, model_file = _chosen(args, seed, args.data_path, folder)
        run = load_run(model_file, {}, None)
        rows = []
        for weight in WEIGHTS:
            run.model.aligner.modules.fusion.fill_(weight)
            found = {part: metrics["recall@20"] for part, metrics in evaluate_run(run).items()}
            rows.append(
                {
                    "dataset": args.dataset,
                    "model": args.model,
                    "seed": seed,
                    "weight": weight,
                    "valid_recall@20": f"{found['valid']:.6f}",
                    "test_recall@20": f"{found['test']:.6f}",
                    "by_validation": by_validation,
                    "inside": inside,
                }
            )
    return rows


def _chosen(args: argparse.Namespace, seed: int, data_path: str, out: str) -> tuple[float, Path]:
    """Train, let the run choose w on its validation part, and return w and the model's file."""
    from recbole_darec import run_recbole_darec
    from recbole_darec.loaded import load_run

    given = {key: parse_value(value) for key, _, value in (o.partition("=") for o in args.common)}
    quiet = {"show_progress": False, "state": "ERROR", "snapshot_every": 0, "topk": [20]}
    options = {**quiet, **given, "align": "text_filter", "seed": seed, "data_path": data_path}
    options |= {"checkpoint_dir": out, "metrics": ["Recall"], "valid_metric": "Recall@20"}
    result = run_recbole_darec(args.model, args.dataset, config_dict=options)
    path = Path(result["model_file"])
    run = load_run(path, {}, None)
    return round(float(run.model.aligner.modules.fusion), 1), path


def _reduced(args: argparse.Namespace, folder: Path) -> str:
    """Write the data set with a fifth of the training part for its validation part."""
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    from recbole_darec.filters.held_out import hold_out

    source, target = Path(args.data_path) / args.dataset, folder / "inside" / args.dataset
    shutil.copytree(source, target)
    table = pd.read_csv(source / f"{args.dataset}.train.inter", sep="\t", dtype=str)
    columns = [pd.factorize(table[name]) for name in table.columns[:2]]
    pairs = sp.csr_matrix((np.ones(len(table), np.float32), [codes for codes, _ in columns]))
    for part, kept in zip(("train", "valid", "test"), (0, 1, 1)):
        rows, items = hold_out(pairs)[kept].nonzero()
        written = {
            table.columns[0]: columns[0][1][rows],
            table.columns[1]: columns[1][1][items],
        }
        path = target / f"{args.dataset}.{part}.inter"
        pd.DataFrame(written).to_csv(path, sep="\t", index=False)
    return str(folder / "inside")


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--model", default="LightGCN")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--common", nargs="*", default=[], metavar="option=value")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Alignment methods over several backbones, each tuned with the same effort, in one table.

    python benchmarks/fair_table.py --dataset xrec_yelp --models LightGCN SimGCL NCL \\
        --seeds 1 2 3 --common eval_step=3 stopping_step=10 --out results.csv

Each method has a grid of three settings.  The one with the best validation Recall@20 of
``--tuning-seed`` is then trained with each of ``--seeds``, which took no part in choosing it; test
metrics choose nothing.  With the tuning seed among ``--seeds`` its run is not repeated.
``shuffled`` rows are the same setting over profiles given to strangers.
One row a run is appended to ``--out`` the moment it ends, and a row that is there is not trained
again; the tuning runs' variants begin with ``tune:``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compare import append_row, read_rows, train_row

from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.significance import compare_paired

# Three settings a method: the weight that its papers search, or what KAR has in its place.
GRIDS = {
    "none": ["align=none"],
    "rlmrec_con": [f"align=rlmrec_con kd_weight={w}" for w in ("0.01", "0.03", "0.1")],
    "rlmrec_gen": [f"align=rlmrec_gen kd_weight={w}" for w in ("0.01", "0.1", "1.0")],
    "kar": ["align=kar kar_hidden=[]", "align=kar", "align=kar kar_fusion=concat"],
    "darec": [f"align=darec align_lambda={w} align_sample=1024" for w in ("0.01", "0.03", "0.1")],
    "relational": [f"align=relational neighbour_weight={w}" for w in ("0.1", "0.3", "0.5")],
    "relational_con": [f"align=relational_con neighbour_weight={w}" for w in ("0.1", "0.3", "0.5")],
}
SHUFFLED = ("darec", "relational", "relational_con")


def main() -> None:
    """Train what is missing, then print the table."""
    args = _arguments()
    print("| backbone | method | setting | Recall@20 | gain | p | NDCG@20 | gain | p |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for model in args.models:
        of_none: dict[str, list[float]] = {}
        for method in args.methods:
            setting = _best(args, model, method)
            names = {method: setting}
            if method in SHUFFLED:
                names[f"{method} shuffled"] = f"{setting} profile_control=shuffle"
            for name, options in names.items():
                rows = [_row(args, model, name, options, seed) for seed in args.seeds]
                cells = []
                for metric in ("recall@20", "ndcg@20"):
                    values = [float(row[metric]) for row in rows]
                    found = compare_paired(values, of_none.setdefault(metric, values))
                    # One seed has no test.
                    p_value = f"{found.p_value:.2g}" if len(values) > 1 else ""
                    gain = f"{100 * found.gain:+.1f} % | {p_value}"
                    cells.append(f"{found.mean:.4f} | {gain if name != 'none' else ' | '}")
                short = " ".join(w for w in setting.split() if not w.startswith("align="))
                print(f"| {model} | {name} | {short} | {' | '.join(cells)} |", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", nargs="+", default=["LightGCN", "SimGCL", "NCL"])
    parser.add_argument("--methods", nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--tuning-seed", type=int, default=2020)
    parser.add_argument("--common", nargs="*", default=[], metavar="option=value")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    args = parser.parse_args()
    if "none" not in args.methods:
        args.methods.insert(0, "none")
    args.methods.sort(key=list(GRIDS).index)
    return args


def _best(args: argparse.Namespace, model: str, method: str) -> str:
    """Return the options of the method's setting that validation prefers."""
    grid = GRIDS[method]
    if len(grid) == 1:
        return grid[0]
    found = {
        options: float(_row(args, model, f"tune: {options}", options, args.tuning_seed)[
            "valid_recall@20"
        ])
        for options in grid
    }  # fmt: skip
    return max(found, key=lambda options: found[options])


def _row(
    args: argparse.Namespace, model: str, name: str, options: str, seed: int
) -> dict[str, str]:
    """Return the row of one run, trained if the file has none with these options and this seed."""
    options = f"{' '.join(args.common)} {options}".strip()
    rows = read_rows(args.out)
    row = rows.get((args.dataset, model, name, str(seed)))
    if row is None:
        what = {"dataset": args.dataset, "model": model, "options": options, "seed": str(seed)}
        same = (one for one in rows.values() if what.items() <= one.items())
        found = next(same, None) or train_row(args.dataset, model, name, options, seed)
        row = {**found, "variant": name}
        append_row(args.out, row)
    elif row["options"] != options:
        raise OptionError(
            f"{args.out} has {model} {name} seed {seed} with other options: "
            f"{row['options']}; give another --out"
        )
    return row


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Time an epoch of each pair of backbone and alignment method against the backbone alone.

    python benchmarks/pair_times.py                       # a random graph of Amazon-book's size
    python benchmarks/pair_times.py --dataset amazon --data_path dataset --models LightGCN SGL

An epoch is taken to be its first ``--steps`` steps, times what is left; NCL's E-step is left out.
The pairs of one backbone take turns, and the clock is the process's own CPU time, so that other
work on the machine does not count.  The profiles are random rows, 1536 wide: their meaning costs no
time.  The rows of a backbone go to ``--out`` the moment it is done; what is there already is not
timed again.
"""

from __future__ import annotations

import argparse
import csv
import gc
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from epoch_data import FirstSteps, data_set, write_random_profiles

from recbole_darec.cli.ending import exit_code

# The methods by the names of their columns.
METHODS: dict[str, dict[str, Any]] = {
    "none": {"align": "none"},
    "darec": {"align": "darec"},
    "darec, N̂ 1024": {"align": "darec", "align_sample": 1024, "uniformity_sample": 1024},
    "con": {"align": "rlmrec_con"},
    "con, all users": {"align": "rlmrec_con", "negatives": "all"},
    "con, lean": {"align": "rlmrec_con", "kd_sample": 512, "kd_hidden": [64]},
    "gen": {"align": "rlmrec_gen"},
    "kar": {"align": "kar"},
    "relational": {"align": "relational"},
    "relational_con": {"align": "relational_con"},
}
PROPAGATE_NOTHING = ("BPR", "SimpleX", "ENMF")


def main() -> None:
    """Time what is missing, then print the table."""
    args = _arguments()
    done = _read(args.out)
    with data_set(args) as (data_path, dataset, folder):
        write_random_profiles(folder / "profiles", data_path, dataset, args.profile_width)
        for model in args.models:
            if model not in done:
                done[model] = _time(args, model, dataset, data_path, folder)
                _append(args.out, model, done[model])
    print(
        f"profiles {args.profile_width} wide, {args.threads} thread(s), median of {args.epochs}\n"
    )
    print("| backbone | alone, s | " + " | ".join(list(METHODS)[1:]) + " |")
    print("| --- " * (len(METHODS) + 1) + "|")
    for model in args.models:
        alone = done[model]["none"]
        ratios = [f"{done[model][m] / alone:.2f}" if m in done[model] else "–" for m in METHODS]
        print(f"| {model} | {alone:.2f} | " + " | ".join(ratios[1:]) + " |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a data set with fixed split files (default: random)")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["LightGCN", "GCCF", "SGL", "SimGCL", "DCCF", "AutoCF", "NCL", "BPR", "NGCF"],
    )
    parser.add_argument("--steps", type=int, default=8, help="steps of an epoch that are timed")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--profile-width", type=int, default=1536)
    parser.add_argument("--out", type=Path, help="a CSV file that rows are added to")
    return parser.parse_args()


def _time(
    args: argparse.Namespace, model: str, dataset: str, data_path: str, folder: Path
) -> dict[str, float]:
    """Return the median epoch of each method over one backbone, in seconds."""
    from recbole_darec import run
    from recbole_darec.resolve import resolve

    common = {
        "data_path": data_path,
        "embedding_size": 32,
        "train_batch_size": 4096,
        "profile_dir": str(folder / "profiles"),
        "checkpoint_dir": str(folder / "saved"),
        "snapshot_every": 0,
        "show_progress": False,
    }
    trainers = {}
    for name, options in METHODS.items():
        if model in PROPAGATE_NOTHING and options["align"] == "rlmrec_gen":
            continue
        prepared = run.prepare(resolve(model, dataset, None, {**common, **options}))
        if hasattr(prepared.model, "e_step"):
            prepared.model.e_step()
        trainers[name] = (run.make_trainer(prepared), FirstSteps(prepared.train_data, args.steps))
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for epoch in range(args.epochs + 1):
        for name, (trainer, data) in trainers.items():
            start = time.process_time()
            trainer._train_epoch(data, epoch)
            if epoch:  # the first one warms up
                times[name].append((time.process_time() - start) * data.n_steps / len(data))
    trainers.clear()
    gc.collect()
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def _read(path: Any) -> dict[str, dict[str, float]]:
    done: dict[str, dict[str, float]] = {}
    if path is not None and path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                done.setdefault(row["model"], {})[row["method"]] = float(row["seconds"])
    return done


def _append(path: Any, model: str, seconds: dict[str, float]) -> None:
    if path is None:
        return
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["model", "method", "seconds"])
        writer.writerows([model, method, f"{value:.4f}"] for method, value in seconds.items())


if __name__ == "__main__":
    sys.exit(exit_code(main))

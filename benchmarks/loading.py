"""Time from a table to a run: import, preparation cold and from the cache, beside stock RecBole's.

    python benchmarks/loading.py                                        # 2 million interactions
    python benchmarks/loading.py --sizes 1000000 2000000 5000000 10000000

Each step is a process of its own, whose peak memory is told.  Stock RecBole reads the same atomic
file: ``create_dataset`` and ``data_preparation``, with no more of this package than lets it run on
today's pandas.  There are a fifth as many items, and a twentieth as many users, as interactions.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from recbole_darec.cli.ending import exit_code

_STEPS = ("import", "cold", "cached", "stock")


def main() -> None:
    """Print the table of seconds and memory by size, and how they grow."""
    args = _arguments()
    if args.step:
        _in_process(args.step, Path(args.folder))
        return
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for size in args.sizes:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            _write_table(Path(folder) / "table.parquet", size, args.users, args.items)
            found[size] = {step: _timed(step, folder) for step in args.steps}
    print("| interactions | step | seconds | peak GB |\n| --- | --- | --- | --- |")
    for size, steps in found.items():
        for step, (seconds, peak) in steps.items():
            print(f"| {size:,} | {step} | {seconds:.1f} | {peak:.2f} |")
    if len(found) > 1:
        sizes = np.log(list(found))
        for step in args.steps:
            times = np.log([steps[step][0] for steps in found.values()])
            print(f"{step}: seconds grow with the interactions to the power of "
                  f"{np.polyfit(sizes, times, 1)[0]:.2f}")  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[2_000_000])
    parser.add_argument("--users", type=float, default=0.05, help="users for each interaction")
    parser.add_argument("--items", type=float, default=0.025, help="items for each interaction")
    parser.add_argument("--steps", nargs="+", default=list(_STEPS), choices=_STEPS)
    parser.add_argument("--folder", help="where the data are written (default: temporary)")
    parser.add_argument("--step", choices=_STEPS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write_table(path: Path, size: int, users: float, items: float) -> None:
    """Write distinct pairs whose users and items have power laws, with ratings and times."""
    import pandas as pd

    rng = np.random.default_rng(0)
    n_users, n_items = int(size * users), int(size * items)

    def drawn(n: int, count: int, power: float) -> np.ndarray:
        weights = (np.arange(n) + 20.0) ** -power
        places = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(count))
        return rng.permutation(n)[np.minimum(places, n - 1)]

    pairs = np.empty(0, np.int64)
    while len(pairs) < size:
        more = drawn(n_users, size, 0.5) * n_items + drawn(n_items, size, 0.8)
        pairs = np.unique(np.concatenate([pairs, more]))
    pairs = rng.permutation(pairs)[:size]
    frame = pd.DataFrame(
        {
            "user_id": pd.Series(pairs // n_items).map("u{}".format),
            "item_id": pd.Series(pairs % n_items).map("i{}".format),
            "rating": rng.integers(1, 6, size).astype(float),
            "timestamp": rng.integers(1_500_000_000, 1_700_000_000, size).astype(float),
        }
    )
    frame.to_parquet(path)


def _timed(step: str, folder: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--step", step, "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr[-2000:]}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def _in_process(step: str, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    begin = time.perf_counter()
    if step == "import":
        _import(folder)
    elif step == "stock":
        begin = _stock(folder)
    else:
        begin = _prepare(folder)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([seconds, peak]))


def _import(folder: Path) -> None:
    from recbole_darec.cli.main import main as command

    given = f"import table --interactions {folder}/table.parquet --dataset made --split none"
    status = command([*given.split(), "--out", str(folder)])
    if status:
        raise SystemExit(status)


def _options(folder: Path) -> dict[str, object]:
    return {
        "data_path": str(folder),
        "align": "none",
        "show_progress": False,
        "embedding_size": 8,
        "state": "ERROR",
        "eval_args": {"split": {"RS": [3, 1, 1]}, "group_by": "user", "order": "RO"},
    }


def _prepare(folder: Path) -> float:
    from recbole_darec import run
    from recbole_darec.resolve import resolve

    begin = time.perf_counter()
    run.prepare(resolve("LightGCN", "made", None, _options(folder)))
    return begin


def _stock(folder: Path) -> float:
    from recbole.data import create_dataset, data_preparation  # after numpy's names are back

    from recbole_darec import recbole_compat, run
    from recbole_darec.resolve import resolve

    settings = resolve("LightGCN", "made", None, _options(folder))
    begin = time.perf_counter()
    config = recbole_compat.make_config(settings, run.backbone_class("LightGCN"))
    recbole_compat.reconcile()
    data_preparation(config, create_dataset(config))
    return begin


if __name__ == "__main__":
    sys.exit(exit_code(main))

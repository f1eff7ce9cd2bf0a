"""Time from a table to a run: import, preparation cold and from the cache, beside stock RecBole's.

    python benchmarks/loading.py                                        # 1 million interactions
    python benchmarks/loading.py --sizes 1000000 2000000 5000000 10000000 --csv FILE --plot FILE

Each step is a process of its own, whose processor time and peak memory are told beside the seconds.
RecBole imports no table, and two things stand for it: a loop over the cells of a frame, as its
project's conversion tools (RecSysDatasets) write atomic files, and ``pandas.read_parquet`` with
``to_csv``.  Stock RecBole prepares from the same atomic file: ``create_dataset`` and
``data_preparation``, with no more of this package than lets it run on today's pandas; it makes no
model, which ``prepare`` does.  Interactions are ten for a user and fifty for an item.
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

_STEPS = ("import", "pandas", "cold", "cached", "stock", "converted")
_OF_STOCK = ("stock", "converted")
_SAID = {
    "import": "`import table`",
    "pandas": "the same by pandas",
    "cold": "`prepare`, cold",
    "cached": "`prepare`, cached",
    "stock": "RecBole's preparation",
    "converted": "the same cell by cell",
}
_FIELDS = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
_COLUMNS = ("interactions", "step", "seconds", "processor_seconds", "peak_gib")


def main() -> None:
    """Print the table of seconds and memory by size, and how they grow."""
    args = _arguments()
    if args.step:
        _in_process(args.step, Path(args.folder))
        return
    found: dict[int, dict[str, tuple[float, float, float]]] = {}
    print("| interactions | step | seconds | processor's | peak GiB |\n| " + "--- | " * 5)
    for size in args.sizes:
        found[size] = {}
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            _write_table(Path(folder) / "table.parquet", size, args.users, args.items)
            for step in args.steps:
                if step in _OF_STOCK and size > args.stock_up_to:
                    continue
                seconds, busy, peak = found[size][step] = _timed(step, folder)
                said = _SAID[step]
                print(
                    f"| {size:,} | {said} | {seconds:.1f} | {busy:.1f} | {peak:.2f} |", flush=True
                )
        _write_csv(args.csv, found)
    slopes = {step: _slope(found, step) for step in args.steps}
    for step, slope in slopes.items():
        if slope is not None:
            print(f"{_SAID[step]}: the processor's seconds grow to the power of {slope:.2f}")
    if args.plot:
        _plot(Path(args.plot), found, slopes)


def _slope(found: dict[int, dict[str, tuple[float, float, float]]], step: str) -> float | None:
    """Return the power of the interactions that the time goes with, of two sizes or more."""
    points = [(size, steps[step][1]) for size, steps in found.items() if step in steps]
    if len(points) < 2:
        return None
    sizes, seconds = np.log(np.array(points)).T
    return float(np.polyfit(sizes, seconds, 1)[0])


def _write_csv(path: str | None, found: dict[int, dict[str, tuple[float, float, float]]]) -> None:
    if path is None:
        return
    rows = [
        f"{size},{step},{seconds:.2f},{busy:.2f},{peak:.2f}"
        for size, steps in found.items()
        for step, (seconds, busy, peak) in steps.items()
    ]
    Path(path).write_text("\n".join([",".join(_COLUMNS), *rows]) + "\n")


def _plot(
    path: Path,
    found: dict[int, dict[str, tuple[float, float, float]]],
    slopes: dict[str, float | None],
) -> None:
    """Draw the processor's seconds over the interactions, both axes logarithmic."""
    from recbole_darec.studies.drawing import new_figure, styles

    figure, (axes,) = new_figure()
    for step, style in styles(list(slopes)).items():
        points = [(size, steps[step][1]) for size, steps in found.items() if step in steps]
        slope = slopes[step]
        name = _SAID[step].replace("`", "") + (f" (slope {slope:.2f})" if slope else "")
        axes.plot(*zip(*points), style["line"], label=name, color=style["color"],
                  marker=style["marker"])  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="interactions", ylabel="processor's seconds")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000_000])
    parser.add_argument("--users", type=float, default=0.1, help="users for each interaction")
    parser.add_argument("--items", type=float, default=0.02, help="items for each interaction")
    parser.add_argument("--steps", nargs="+", default=list(_STEPS), choices=_STEPS)
    parser.add_argument("--stock-up-to", type=int, default=10**12, help="RecBole's sizes end here")
    parser.add_argument("--csv", help="file that the figures are written to")
    parser.add_argument("--plot", help="file that the plot is written to (.svg, .png)")
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


def _timed(step: str, folder: str) -> tuple[float, float, float]:
    command = [sys.executable, __file__, "--step", step, "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr[-2000:]}")
    seconds, busy, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, busy, peak


def _in_process(step: str, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    steps = {
        "import": _import,
        "pandas": _by_pandas,
        "converted": _cell_by_cell,
        "stock": _stock,
    }
    begin, busy = steps.get(step, _prepare)(folder)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([seconds, busy, peak]))


def _begin() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _import(folder: Path) -> tuple[float, float]:
    from recbole_darec.cli.main import main as command

    begin = _begin()
    given = f"import table --interactions {folder}/table.parquet --dataset made --split none"
    status = command([*given.split(), "--out", str(folder)])
    if status:
        raise SystemExit(status)
    return begin


def _by_pandas(folder: Path) -> tuple[float, float]:
    import pandas as pd

    begin = _begin()
    frame = pd.read_parquet(folder / "table.parquet").drop_duplicates()
    frame.to_csv(folder / "by_pandas.inter", sep="\t", index=False, header=_FIELDS)
    return begin


def _cell_by_cell(folder: Path) -> tuple[float, float]:
    import pandas as pd

    begin = _begin()
    frame = pd.read_parquet(folder / "table.parquet").drop_duplicates()
    columns = range(frame.shape[1])
    with (folder / "converted.inter").open("w") as file:
        file.write("\t".join(_FIELDS) + "\n")
        for row in range(len(frame)):
            file.write("\t".join(str(frame.iloc[row, column]) for column in columns) + "\n")
    return begin


def _options(folder: Path) -> dict[str, object]:
    return {
        "data_path": str(folder),
        "align": "none",
        "show_progress": False,
        "embedding_size": 8,
        "state": "ERROR",
        "eval_args": {"split": {"RS": [3, 1, 1]}, "group_by": "user", "order": "RO"},
    }


def _prepare(folder: Path) -> tuple[float, float]:
    from recbole_darec import run
    from recbole_darec.resolve import resolve

    begin = _begin()
    run.prepare(resolve("LightGCN", "made", None, _options(folder)))
    return begin


def _stock(folder: Path) -> tuple[float, float]:
    from recbole.data import create_dataset, data_preparation  # after numpy's names are back

    from recbole_darec import recbole_compat
    from recbole_darec.backbones.registry import backbone_class
    from recbole_darec.resolve import resolve

    settings = resolve("LightGCN", "made", None, _options(folder))
    begin = _begin()
    config = recbole_compat.make_config(settings, backbone_class("LightGCN"))
    recbole_compat.reconcile()
    data_preparation(config, create_dataset(config))
    return begin


if __name__ == "__main__":
    sys.exit(exit_code(main))

#!/usr/bin/env python
"""Time and memory of fitting the text filter at several sizes, with the slope, in one run.

    python benchmarks/filter_time.py                           # 10,000, 100,000, 1,000,000 items
    python benchmarks/filter_time.py --items 10000 30000 --out filter_time.csv
    python benchmarks/filter_time.py --recall dataset/prime_pantry/prime_pantry.itememb.npy

Each size is fitted in a process of its own: as many users as items, 20 interactions a user whose
items follow a power law, and profiles of 384 columns of users and items.  They are random rows in
clusters of 50, or, with ``--profiles random``, without any structure.  The peak is the kernel's
high-water mark of the resident set, less the inputs; it needs Linux's /proc.  Seconds are the
processor's, which what else the machine does changes little.  ``recall`` is the share of the 20
nearest profiles of 500 items, by comparing all, that are neighbours in the graph.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

WIDTH, PER_USER, CLUSTER_ROWS = 384, 20, 50
STAGES = ("item graph", "user graph", "profile rows", "weights", "deviations", "ranking")


def main() -> None:
    """Print a row a size as it is done, then the slopes."""
    args = _arguments()
    if args.measure:
        print(json.dumps(measured(args.measure, args.profiles, args.search, args.threads)))
        return
    if args.recall:
        _print_recall(args.recall)
        return
    rows: list[dict[str, Any]] = []
    names = ["items", "search", "recall", *STAGES, "fit", "wall", "peak_mib"]
    print(
        f"as many users as items, {PER_USER} interactions a user, {args.profiles} profiles, "
        f"{args.threads} thread(s); seconds of the processor, "
        "of the clock under wall; ranking is of 1,000 users\n\n"
        f"| {' | '.join(names)} |\n|{' --- |' * len(names)}",
        flush=True,
    )
    for items in args.items:
        command = [sys.executable, __file__, "--measure", str(items), "--search", args.search]
        command += ["--profiles", args.profiles, "--threads", str(args.threads)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"| {' | '.join(_shown(rows[-1][name]) for name in names)} |", flush=True)
        if args.out:
            _write(args.out, rows, names, args.profiles)
    for name in ("fit", "peak_mib"):
        slopes = [
            math.log(b[name] / a[name]) / math.log(b["items"] / a["items"])
            for a, b in itertools.pairwise(rows)
        ]
        print(f"slope of {name}: {', '.join(f'{slope:.2f}' for slope in slopes)}")


def _write(path: str, rows: list[dict[str, Any]], names: list[str], profiles: str) -> None:
    """Write what is done so far."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["profiles", *names, "weights_found"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"profiles": profiles, **row} for row in rows)


def measured(n: int, profiles: str, search: str, threads: int) -> dict[str, Any]:
    """Fit the filter to a random data set in this process and return its figures.

    Args:
        n: number of items, and of users.
        profiles: ``clusters`` or ``random``.
        search: the option ``filter_search``.
        threads: of torch.
    """
    import numpy as np
    import torch

    from recbole_darec.filters.equations import centred_unit_rows
    from recbole_darec.filters.fitted import FittedFilter
    from recbole_darec.filters.inputs import FilterInputs, rows_of_users
    from recbole_darec.filters.text_graph import EXACT_ROWS, TextGraph
    from recbole_darec.filters.tuning import tuned_weights

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
    pairs, (items, users) = _interactions(n), _profiles(n, profiles)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resident, start = _resident(), time.perf_counter()
    seconds: dict[str, float] = {}

    def timed(name: str, made: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = made()
        seconds[name] = time.process_time() - began
        print(f"{n:,} items: {name} {seconds[name]:.1f} s", file=sys.stderr, flush=True)
        return result

    of_items = timed("item graph", lambda: TextGraph.of(items, search=search))
    of_users = timed("user graph", lambda: TextGraph.of(users, search=search))

    def joined() -> FilterInputs:
        known = centred_unit_rows(items)
        return FilterInputs(pairs, of_items, of_users, known, rows_of_users(pairs, known, users))

    inputs = timed("profile rows", joined)
    weights = timed("weights", lambda: tuned_weights(inputs))
    fitted = timed("deviations", lambda: FittedFilter(inputs, weights))
    fit, wall = sum(seconds.values()), time.perf_counter() - start
    ranked = np.linspace(0, n - 1, 1000).astype(np.int64)
    height = max(1, (1 << 24) // n)

    def ranking() -> None:
        for first in range(0, len(ranked), height):
            torch.from_numpy(fitted.scores(ranked[first : first + height])).topk(20)

    timed("ranking", ranking)
    peak = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, before) - resident
    exact = search == "exact" or (search == "auto" and n <= EXACT_ROWS)
    return {
        "items": n,
        "search": "exact" if exact else "cells",
        "recall": _recall(items, of_items),
        **seconds,
        "fit": fit,
        "wall": wall,
        "peak_mib": peak / 1024,
        "weights_found": str(weights),
    }


def _recall(items: Any, graph: Any) -> float:
    """Return the share of the 20 nearest of 500 rows that are their neighbours in a graph."""
    import numpy as np
    import torch

    from recbole_darec.numerics.neighbours import nearest_among

    asked = torch.linspace(0, len(items) - 1, 500).long()
    rows = graph.directions(items)
    wanted = nearest_among(rows[asked], rows, 21)[0]
    wanted = wanted[wanted != asked.unsqueeze(1)].view(len(asked), -1)[:, :20]
    near = [graph.matrix[int(n)].indices for n in asked]
    return float(np.mean([np.isin(w.numpy(), n).mean() for w, n in zip(wanted, near)]))


def _print_recall(path: str) -> None:
    """Print how many of the nearest profiles of a file small cells hold, and at what cost."""
    import numpy as np
    import torch

    from recbole_darec.numerics.cells import nearest_in_cells
    from recbole_darec.numerics.neighbours import nearest_rows
    from recbole_darec.numerics.principal import principal_rows

    rows = principal_rows(torch.from_numpy(np.load(path)).float(), 128)
    wanted = nearest_rows(rows, 20)[0]
    cells = len(rows) // 16
    print(
        f"{len(rows):,} profiles, {cells} cells\n\n| cells searched | share of the pairs |", end=""
    )
    print(" recall |\n| --- | --- | --- |")
    for probed in (8, 16, 32, 64):
        found = nearest_in_cells(rows, 20, probed=probed, cell_rows=16)[0]
        recall = (found.unsqueeze(2) == wanted.unsqueeze(1)).any(2).float().mean()
        print(f"| {probed} | {probed / cells:.0%} | {float(recall):.3f} |")


def _interactions(n: int) -> Any:
    """Return random pairs: users alike, items by a power law of exponent 0.8."""
    import numpy as np
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    share = np.arange(1, n + 1, dtype=np.float64) ** -0.8
    items = np.searchsorted(np.cumsum(share) / share.sum(), rng.random(PER_USER * n))
    users = np.repeat(np.arange(n), PER_USER)
    pairs = sp.csr_matrix(
        (np.ones(len(users), np.float32), (users, rng.permutation(n)[items.clip(max=n - 1)])),
        shape=(n, n),
    )
    pairs.data[:] = 1.0
    return pairs


def _profiles(n: int, kind: str) -> list[Any]:
    """Return rows of items and of users, float32 ``[n, 384]`` each."""
    import torch

    generator = torch.Generator().manual_seed(0)
    tables = []
    for _ in range(2):
        rows = torch.randn(n, WIDTH, generator=generator)
        if kind == "clusters":
            centers = torch.randn(max(1, n // CLUSTER_ROWS), WIDTH, generator=generator)
            which = torch.randint(len(centers), (n,), generator=generator)
            for start in range(0, n, 1 << 16):
                rows[start : start + (1 << 16)] += centers[which[start : start + (1 << 16)]]
        tables.append(rows)
    return tables


def _resident() -> int:
    """Return the resident set in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise OSError("/proc/self/status has no VmRSS")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--profiles", choices=("clusters", "random"), default="clusters")
    parser.add_argument("--search", choices=("auto", "exact", "cells"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", help="a CSV with every figure")
    parser.add_argument("--recall", metavar="FILE.npy", help="only compare cells with all pairs")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

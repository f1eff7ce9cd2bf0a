"""``recbole-darec prepare movielens`` on generated ratings: line by line and in columns.

    python benchmarks/prepare_ratings.py [--n 2000000] [--gzip] [--folder DIR]

Writes ``n`` ratings in the format of MovieLens 32M (``ratings.csv``, sorted by user), whose users
and items follow power laws, and prepares them twice, each time in a process of its own: with every
line parsed by itself, as is done in a block with anything odd, and in columns.  The files written
must be the same.  "rows/s" is of the processor's seconds; "peak" is the growth of resident memory
over the process with everything imported, to be compared with "held", which is what the first pass
keeps of all ratings together with the ids that are left.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from prepare_reviews import resident

_WAYS = ("line by line", "in columns")
_BLOCK = 100_000
_ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print the table of both ways."""
    args = _arguments()
    if args.measure:
        _measured(*args.measure)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        raw = Path(scratch) / "raw"
        raw.mkdir()
        name = raw / ("ratings.csv.gz" if args.gzip else "ratings.csv")
        with _created(name) as file:
            _write_ratings(file, args.n)
        print(f"{args.n:,} ratings, {name.stat().st_size / 1e6:.0f} MB")
        print("| way | processor's s | s | rows/s | peak MB | held MB |\n| " + "--- | " * 6)
        written: list[dict[str, bytes]] = []
        for way in _WAYS:
            out = Path(scratch) / way.replace(" ", "_")
            done = subprocess.run(
                [sys.executable, __file__, "--measure", way, str(raw), str(out)],
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)},
                stdout=subprocess.PIPE,
                check=True,
            )
            told = json.loads(done.stdout)
            print(
                f"| {way} | {told['cpu']:.1f} | {told['seconds']:.1f} | "
                f"{args.n / told['cpu']:,.0f} | {told['peak'] / 1e6:,.0f} | "
                f"{told['held'] / 1e6:,.0f} |",
                flush=True,
            )
            written.append({path.name: path.read_bytes() for path in (out / "bench").iterdir()})
        if written[0] != written[1]:
            raise SystemExit("the two ways wrote other files")
        size = sum(map(len, written[0].values()))
        print(f"{told['kept']:,} ratings of {told['users']:,} users kept, {size / 1e6:.0f} MB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--n", type=int, default=2_000_000, help="ratings")
    parser.add_argument("--gzip", action="store_true", help="compress the raw file")
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _created(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=1)
    return path.open("wb")


def _write_ratings(file: IO[bytes], n: int) -> None:
    rng = np.random.default_rng(0)
    users = np.sort((n // 100 * rng.random(n) ** 2).astype(np.int64))
    file.write(b"userId,movieId,rating,timestamp\n")
    for begin in range(0, n, _BLOCK):
        user = users[begin : begin + _BLOCK]
        item = (max(n // 400, 40) * rng.random(len(user)) ** 2).astype(np.int64)
        rating = rng.choice(10, len(user), p=np.arange(1, 11) / 55) / 2 + 0.5
        moment = rng.integers(800_000_000, 1_700_000_000, len(user))
        columns: list[Any] = [(user + 1), (item + 1), rating, moment]
        rows = zip(*(column.tolist() for column in columns))
        file.write("".join(f"{u},{i},{r},{t}\n" for u, i, r, t in rows).encode())


def _measured(way: str, raw: str, out: str) -> None:
    """Prepare, and print the figures as JSON; runs in a process of its own."""
    import pandas  # noqa: F401

    from recbole_darec.sources.raw import prepare
    from recbole_darec.sources.raw.movielens import open_movielens
    from recbole_darec.sources.raw.prepare import SOURCES

    if way == _WAYS[0]:
        SOURCES["movielens"] = lambda raw: dataclasses.replace(open_movielens(raw), columns=None)
    np.random.RandomState(0)  # loads what NumPy loads late
    before = resident("VmRSS")
    cpu, start = time.process_time(), time.perf_counter()
    report = prepare("movielens", raw, "bench", out)
    figures = {
        "cpu": time.process_time() - cpu,
        "seconds": time.perf_counter() - start,
        "peak": resident("VmHWM") - before,
        "held": report.held,
        "kept": report.kept,
        "users": report.users,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

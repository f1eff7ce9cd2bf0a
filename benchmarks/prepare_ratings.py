"""``recbole-darec prepare`` on generated interactions: line by line and in columns.

    python benchmarks/prepare_ratings.py [--n 2000000] [--gzip] [--folder DIR]
    python benchmarks/prepare_ratings.py --source amazon yelp goodreads --n 1000000
    python benchmarks/prepare_ratings.py --source amazon --n 1000000 --parquet
    python benchmarks/prepare_ratings.py --source mind --n 200000

Writes ``n`` ratings in the format of MovieLens 32M (``ratings.csv``, sorted by user), or of the
JSON lines of Amazon (2018) and Yelp, with reviews, or of Goodreads, without; see :mod:`raw_json`;
or as many impressions of MIND, each of 37 news with 30 of a history, about as there.
Users and items follow power laws.  They are prepared twice, each time in a process of its own: with
every line parsed by itself, as is done in a block with anything odd, and in columns.  The files
written must be the same.  "lines/s" is of the processor's seconds; "peak" is the growth of resident
memory over the process with everything imported, to be compared with "held", which is what the
first pass keeps of all ratings together with the ids that are left.
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
from raw_json import FORMATS

_WAYS = ("line by line", "in columns")
_BLOCK = 100_000
_ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print the tables of both ways."""
    args = _arguments()
    if args.measure:
        _measured(*args.measure)
        return
    for source in args.source:
        with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
            _compare(source, args.n, args.gzip, args.parquet, Path(scratch))


def _compare(source: str, n: int, pack: bool, parquet: bool, scratch: Path) -> None:
    raw = scratch / "raw"
    raw.mkdir()
    name, write = {**_TEXTS, **FORMATS}[source]
    path = raw / (name + ".gz" * pack)
    with _created(path) as file:
        write(file, n)
    if parquet:
        path = _as_parquet(path)
    print(f"{source}: {n:,} lines, {path.stat().st_size / 1e6:.0f} MB")
    print("| way | processor's s | s | lines/s | peak MB | held MB |\n| " + "--- | " * 6)
    written: list[dict[str, bytes]] = []
    seconds: list[float] = []
    for way in _WAYS:
        out = scratch / way.replace(" ", "_")
        done = subprocess.run(
            [sys.executable, __file__, "--measure", source, way, str(raw), str(out)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            check=True,
        )
        told = json.loads(done.stdout)
        print(
            f"| {way} | {told['cpu']:.1f} | {told['seconds']:.1f} | {n / told['cpu']:,.0f} | "
            f"{told['peak'] / 1e6:,.0f} | {told['held'] / 1e6:,.0f} |",
            flush=True,
        )
        seconds.append(told["cpu"])
        written.append({path.name: path.read_bytes() for path in (out / "bench").iterdir()})
    if written[0] != written[1]:
        raise SystemExit("the two ways wrote other files")
    size = sum(map(len, written[0].values()))
    print(
        f"{told['kept']:,} of {told['users']:,} users kept, {size / 1e6:.0f} MB; "
        f"{seconds[0] / seconds[1]:.2f} times as fast in columns"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--n", type=int, default=2_000_000, help="interactions")
    parser.add_argument("--source", nargs="+", choices=[*_TEXTS, *FORMATS], default=["movielens"])
    parser.add_argument("--gzip", action="store_true", help="compress the raw file")
    parser.add_argument("--parquet", action="store_true", help="amazon as a Parquet file")
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.parquet and (args.gzip or args.source != ["amazon"]):
        parser.error("--parquet is for --source amazon alone, without --gzip")
    return args


def _as_parquet(lines: Path) -> Path:
    """Write JSON lines as Parquet in their place."""
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    path = lines.parent / "Books.parquet"
    pq.write_table(pj.read_json(lines), path)
    lines.unlink()
    return path


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


def _write_behaviours(file: IO[bytes], n: int) -> None:
    rng = np.random.default_rng(0)
    users = (n // 3 * rng.random(n)).astype(np.int64)  # a user has three impressions in the mean
    seen = _news(rng, n // 3 + 1, 30)
    for begin in range(0, n, _BLOCK):
        user = users[begin : begin + _BLOCK]
        shown, clicked = _news(rng, len(user), 37), rng.integers(0, 37, len(user))
        moment = rng.integers(1_573_257_600, 1_573_862_400, len(user))
        for row, (u, t, click) in enumerate(zip(user.tolist(), moment.tolist(), clicked.tolist())):
            impressions = " ".join(
                f"N{item}-{int(place == click)}" for place, item in enumerate(shown[row])
            )
            history = " ".join(f"N{item}" for item in seen[u])
            date = time.strftime("%m/%d/%Y %I:%M:%S %p", time.gmtime(t))
            file.write(f"{begin + row}\tU{u}\t{date}\t{history}\t{impressions}\n".encode())


def _news(rng: np.random.Generator, n: int, size: int) -> list[list[int]]:
    items: list[list[int]] = (65_000 * rng.random((n, size)) ** 2).astype(np.int64).tolist()
    return items


_TEXTS = {
    "movielens": ("ratings.csv", _write_ratings),
    "mind": ("behaviors.tsv", _write_behaviours),
}


def _measured(source: str, way: str, raw: str, out: str) -> None:
    """Prepare, and print the figures as JSON; runs in a process of its own."""
    import pandas  # noqa: F401
    import pyarrow.json  # noqa: F401

    from recbole_darec.sources.raw import prepare
    from recbole_darec.sources.raw.prepare import SOURCES

    if way == _WAYS[0]:
        opener = SOURCES[source]
        SOURCES[source] = lambda raw: dataclasses.replace(
            opener(raw), columns=None, table_columns=None
        )
    np.random.RandomState(0)  # loads what NumPy loads late
    before = resident("VmRSS")
    cpu, start = time.process_time(), time.perf_counter()
    report = prepare(source, raw, "bench", out)
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

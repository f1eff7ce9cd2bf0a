"""``recbole-darec prepare amazon`` on generated reviews: time and peak memory.

    python benchmarks/prepare_reviews.py [--n 10000000] [--gzip] [--folder DIR]

Writes ``n`` reviews in the format of Amazon's release of 2018, with metadata for the items, and
prepares them in a process of its own.  Users and items follow power laws, so that the 10-core takes
out many; one review in fifty repeats a pair, one line in a thousand is broken.  Needs about 1 kB of
disk for each review (5 GB + 5 GB for ten million), in a temporary folder that is removed.

"held" is what the first pass keeps of all reviews, with the ids of the users and items that are
left; "written" is the size of the files made.  "peak" is the growth of resident memory over the
process with everything imported.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

WORDS = ["plot", "twist", "slow", "warm", "brilliant", "dull", "funny", "chapter", "again", "loved"]
BLOCK = 100_000
ROOT = Path(__file__).resolve().parents[1]


def texts(rng: random.Random, n: int) -> list[str]:
    """Make n texts of very different lengths, 300 characters in the mean."""
    return [
        " ".join(rng.choices(WORDS, k=1 + min(int(rng.expovariate(1 / 50)), 2000)))
        for _ in range(n)
    ]


def write_reviews(file: IO[bytes], n: int, seed: int = 0) -> int:
    """Write n lines; returns how many items there may be."""
    numbers, pool = np.random.default_rng(seed), texts(random.Random(seed), 5000)
    users, items = max(n // 12, 50), max(n // 60, 40)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        user = (users * numbers.random(size) ** 2).astype(np.int64)
        item = (items * numbers.random(size) ** 2).astype(np.int64)
        again = numbers.random(size) < 0.02
        again[0] = False
        user[again], item[again] = user[np.flatnonzero(again) - 1], item[np.flatnonzero(again) - 1]
        rating = numbers.choice(5, size, p=[0.05, 0.05, 0.1, 0.2, 0.6]) + 1
        moment = numbers.integers(1_000_000_000, 1_500_000_000, size)
        text = numbers.integers(0, len(pool), size)
        broken = numbers.random(size) < 0.001
        columns = (user, item, rating, moment, text, broken)
        lines = []
        for u, i, r, t, p, bad in zip(*(column.tolist() for column in columns)):
            line = (
                f'{{"overall": {r}.0, "verified": true, "reviewTime": "09 13, 2009", '
                f'"reviewerID": "A{u:013d}", "asin": "B{i:09d}", '
                f'"style": {{"Format:": "Hardcover"}}, "reviewerName": "J. McDonald", '
                f'"reviewText": "{pool[p]}", '
                f'"summary": "Heavenly", "unixReviewTime": {t}}}'
            )
            lines.append(line[:-20] if bad else line)
        file.write(("\n".join(lines) + "\n").encode())
    return items


def write_metadata(file: IO[bytes], items: int) -> None:
    """Write one line for each item."""
    for item in range(items):
        record = {
            "category": ["Books", "Literature &amp; Fiction"],
            "description": [" ".join(WORDS * 6)],
            "title": f"The book of {WORDS[item % len(WORDS)]}",
            "brand": "Jane Doe",
            "asin": f"B{item:09d}",
        }
        file.write(json.dumps(record).encode() + b"\n")


def resident(key: str) -> int:
    """Return a memory figure of this process in bytes: ``VmRSS``, or its peak ``VmHWM``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}: this benchmark needs Linux")


def measured(raw: str, out: str) -> None:
    """Prepare, and print the report and the figures as JSON; runs in a process of its own."""
    from recbole_darec.sources.raw import prepare

    np.random.RandomState(0)  # loads what NumPy loads late
    before = resident("VmRSS")
    cpu, start = time.process_time(), time.perf_counter()
    report = prepare("amazon", raw, "bench", out)
    figures = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "peak": resident("VmHWM") - before,
        "held": report.held,
        "written": sum(path.stat().st_size for path in report.folder.iterdir()),
        "table": report.table(),
    }
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000_000, help="reviews")
    parser.add_argument("--gzip", action="store_true", help="compress the raw files")
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measured(*args.measure)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        raw = Path(scratch) / "raw"
        raw.mkdir()
        start = time.perf_counter()

        def create(name: str) -> Any:
            if args.gzip:
                return gzip.open(raw / f"{name}.json.gz", "wb", compresslevel=1)
            return open(raw / f"{name}.json", "wb")

        with create("Books") as file:
            items = write_reviews(file, args.n)
        with create("meta_Books") as file:
            write_metadata(file, items)
        size = sum(path.stat().st_size for path in raw.iterdir())
        print(
            f"{args.n:,} reviews, {size / 1e9:.2f} GB, made in {time.perf_counter() - start:.0f} s"
        )
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(raw), str(Path(scratch) / "out")],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=True,
        )
        figures = json.loads(done.stdout)
        print(figures["table"])
        print(
            f"{figures['seconds']:.0f} s ({figures['cpu']:.0f} s of CPU), "
            f"{args.n / figures['seconds']:,.0f} reviews/s; peak {figures['peak'] / 1e6:,.0f} MB = "
            f"{figures['peak'] / figures['held']:.2f} x held ({figures['held'] / 1e6:,.0f} MB) = "
            f"{figures['peak'] / figures['written']:.2f} x written "
            f"({figures['written'] / 1e6:,.0f} MB)"
        )


if __name__ == "__main__":
    main()

"""Reading profile embeddings: this package's three ways, beside RecBole's own reader.

    python benchmarks/embedding_files.py [--rows 20000] [--width 1536] [--recbole-rows 4000]

Every measurement is a process of its own, from the open file to the matrix in the order of the
internal ids, and the best of ``--repeats``.  RecBole's reader is a ``Dataset`` with
``additional_feat_suffix`` and ``preload_weight``, less the same ``Dataset`` without them.  It is
slow, so it reads a smaller file, and the ratio is taken on that very file.  Files are in the
operating system's page cache.  "peak" is the growth of resident memory over the matrix's size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NAME = "bench"


def make_files(folder: Path, rows: int, width: int) -> None:
    """Write one matrix as text and as binary, and the interactions that RecBole asks for."""
    from recbole_darec.embeddings import write_binary, write_text

    (folder / NAME).mkdir()
    matrix = np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32) * 0.025
    tokens = [f"i{row}" for row in range(rows)]
    write_text(folder / NAME / f"{NAME}.itememb", tokens, matrix, "iid", "item_emb")
    write_binary(folder / "binary.itememb", tokens, matrix)
    interactions = "".join(f"u{row % 7}\t{token}\n" for row, token in enumerate(tokens))
    (folder / NAME / f"{NAME}.inter").write_text("user_id:token\titem_id:token\n" + interactions)


def resident(key: str) -> int:
    """Return a memory figure of this process in bytes: ``VmRSS``, or its peak ``VmHWM``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}: this benchmark needs Linux")


def measure(action: Callable[[], object]) -> dict[str, float]:
    """Run once; return wall and CPU seconds and the growth of resident memory at its peak."""
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
    before = resident("VmRSS")
    cpu, start = time.process_time(), time.perf_counter()
    result = action()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resident("VmHWM") - before
    del result
    return {"seconds": seconds, "cpu": cpu, "peak": float(peak)}


def read_ours(path: Path, rows: int, cache: bool = True) -> dict[str, float]:
    """Read one file with this package."""
    from recbole_darec.embeddings import lookup, read_table

    order = np.random.default_rng(1).permutation(rows)
    tokens = ["[PAD]", *(f"i{row}" for row in order)]
    return measure(lambda: lookup(read_table(path, cache=cache), tokens, kind="item"))


def read_recbole(folder: Path) -> dict[str, float]:
    """Read the text with RecBole."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.argv = sys.argv[:1]  # RecBole's Config reads the command line
    from recbole.config import Config
    from recbole.data.dataset import Dataset

    base = {"data_path": str(folder), "load_col": None}
    more = {
        "additional_feat_suffix": ["itememb"],
        "alias_of_item_id": ["iid"],
        "preload_weight": {"iid": "item_emb"},
    }
    plain_config = Config(model="BPR", dataset=NAME, config_dict=base)
    full_config = Config(model="BPR", dataset=NAME, config_dict={**base, **more})
    plain = measure(lambda: Dataset(plain_config))
    full = measure(lambda: Dataset(full_config))
    return {
        "seconds": full["seconds"] - plain["seconds"],
        "cpu": full["cpu"] - plain["cpu"],
        "peak": full["peak"],
    }


def worker(kind: str, folder: Path, rows: int) -> None:
    """Measure one way in this process and print the figures as JSON."""
    if kind == "recbole":
        figures = read_recbole(folder)
    elif kind == "binary":
        figures = read_ours(folder / "binary.itememb", rows)
    else:
        figures = read_ours(folder / NAME / f"{NAME}.itememb", rows, cache=kind != "parse")
    print(json.dumps(figures))


def best(kind: str, folder: Path, rows: int, repeats: int) -> dict[str, float]:
    """Measure one way ``repeats`` times in fresh processes; return the fastest."""
    runs = []
    for _ in range(repeats):
        if kind == "text":  # the first time: nothing is cached
            for cached in (folder / NAME).glob("*.cache.*"):
                cached.unlink()
        command = [sys.executable, __file__, "--worker", kind, "--folder", str(folder)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--rows", str(rows)], env=env, cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{kind} failed:\n{done.stderr}")
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return min(runs, key=lambda figures: figures["seconds"])


LABELS = {
    "recbole": "RecBole's reader, text",
    "parse": "text, parsed",
    "text": "text, parsed and cached",
    "cache": "text, from its cache",
    "binary": "binary",
}


def report(rows: int, width: int, kinds: list[str], repeats: int) -> None:
    """Measure some ways on one matrix and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, rows, width)
        text_bytes = (folder / NAME / f"{NAME}.itememb").stat().st_size
        matrix_bytes = rows * width * 4
        print(
            f"\n{rows:,} x {width:,} float32: matrix {matrix_bytes / 2**20:,.0f} MiB, "
            f"text {text_bytes / 2**20:,.0f} MiB"
        )
        print(f"{'':30}{'seconds':>9}{'CPU s':>9}{'peak':>9}{'x RecBole':>11}{'(CPU)':>8}")
        reference = None
        for kind in kinds:
            figures = best(kind, folder, rows, repeats)
            if kind == "recbole":
                reference = figures
            line = f"{LABELS[kind]:30}{figures['seconds']:9.2f}{figures['cpu']:9.2f}"
            line += f"{figures['peak'] / matrix_bytes:8.2f}x"
            if reference is not None:
                line += f"{reference['seconds'] / figures['seconds']:10.1f}x"
                line += f"{reference['cpu'] / max(figures['cpu'], 1e-9):7.1f}x"
            print(line, flush=True)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--recbole-rows", type=int, default=4000, help="rows of the smaller file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", choices=list(LABELS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.folder, args.rows)
        return
    sys.path.insert(0, str(ROOT))
    report(
        args.recbole_rows, args.width, ["recbole", "parse", "text", "cache", "binary"], args.repeats
    )
    report(args.rows, args.width, ["parse", "text", "cache", "binary"], args.repeats)


if __name__ == "__main__":
    main()

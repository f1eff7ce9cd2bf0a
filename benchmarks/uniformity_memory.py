#!/usr/bin/env python
"""Peak extra memory and time of the uniformity term, in blocks and formed whole.

Each form runs forward and backward in a process of its own, on the same rows.  The peak is the
kernel's high-water mark of the resident set, reset after a warm-up on a few rows, less what was
resident at that moment; it needs Linux's /proc.  The time is the least of ``--repeats`` further
runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEBIBYTE = 1024**2


def blocked(rows: Tensor) -> Tensor:
    """Return the package's own form."""
    from recbole_darec.alignment.equations import uniformity

    return uniformity(rows)


def matrix(rows: Tensor) -> Tensor:
    """Return the term from the whole N × N matrix of products."""
    import torch

    unit = torch.nn.functional.normalize(rows)
    potentials = torch.exp(4.0 * (unit @ unit.t()) - 4.0)
    pairs = len(rows) * (len(rows) - 1)
    return torch.log((potentials.sum() - potentials.diagonal().sum()) / pairs)


def pdist(rows: Tensor) -> Tensor:
    """Return the term from the list of distances of all unordered pairs."""
    import torch

    unit = torch.nn.functional.normalize(rows)
    return torch.pdist(unit).pow(2).mul(-2.0).exp().mean().log()


FORMS: dict[str, Callable[[Any], Any]] = {"blocked": blocked, "matrix": matrix, "pdist": pdist}


def measure(form: str, n: int, width: int, threads: int, repeats: int) -> dict[str, float]:
    """Run one form in this process and return its figures; sizes in bytes, times in seconds."""
    import torch

    torch.set_num_threads(threads)
    rows = torch.randn(n, width, generator=torch.Generator().manual_seed(0), requires_grad=True)
    # A warm-up loads what is loaded once (kernels, thread pools), which is no cost of the term.
    FORMS[form](torch.randn(64, width, requires_grad=True)).backward()
    Path("/proc/self/clear_refs").write_text("5")
    resident = status("VmRSS")
    value = FORMS[form](rows)
    value.backward()
    peak = status("VmHWM") - resident
    assert rows.grad is not None
    figures = {
        "value": value.item(),
        "gradient_norm": rows.grad.norm().item(),
        "peak_extra": float(peak),
    }
    del value
    times = []
    for _ in range(repeats):
        rows.grad = None
        start = time.perf_counter()
        FORMS[form](rows).backward()
        times.append(time.perf_counter() - start)
    figures["seconds"] = min(times)
    return figures


def status(field: str) -> int:
    """Return a size from /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def measure_apart(form: str, n: int, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one form from a process of its own."""
    command = [sys.executable, os.path.abspath(__file__), "--worker", form, "--rows", str(n)]
    command += ["--width", str(options.width), "--threads", str(options.threads)]
    command += ["--repeats", str(options.repeats)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[4096, 20000], help="sample sizes N̂ (%(default)s)"
    )
    parser.add_argument("--width", type=int, default=64, help="width d of a row (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each (%(default)s)")
    parser.add_argument(
        "--forms",
        nargs="+",
        choices=list(FORMS),
        default=list(FORMS),
        help="forms to run; at 20,000 rows the matrix needs about 8 GB (default: all)",
    )
    parser.add_argument("--worker", choices=list(FORMS), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Print one line per size and form, with the ratios to the first form listed."""
    options = parse(arguments)
    if options.worker:
        figures = measure(
            options.worker, options.rows[0], options.width, options.threads, options.repeats
        )
        print(json.dumps(figures))
        return
    print(f"uniformity, forward and backward, d = {options.width}, {options.threads} thread(s)")
    print(f"{'rows':>7} {'form':<8} {'peak MiB':>9} {'ratio':>7} {'ms':>9} {'ratio':>6}  value")
    for n in options.rows:
        first: dict[str, float] | None = None
        for form in options.forms:
            found = measure_apart(form, n, options)
            first = first or found
            print(
                f"{n:>7} {form:<8} {found['peak_extra'] / MEBIBYTE:>9.1f}"
                f" {found['peak_extra'] / max(first['peak_extra'], 1.0):>7.1f}"
                f" {found['seconds'] * 1e3:>9.1f} {found['seconds'] / first['seconds']:>6.2f}"
                f"  {found['value']:.6f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

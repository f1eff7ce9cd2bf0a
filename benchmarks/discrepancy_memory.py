#!/usr/bin/env python
"""Peak extra memory and time of PAD's discrepancy, by tiles of the distances and directly.

Each form runs forward and backward in a process of its own, on the same rows: n of each side, five
Gaussians.  The peak is the kernel's high-water mark of the resident set, reset after a warm-up on a
few rows, less what was resident at that moment; it needs Linux's /proc.  The time, the processor's,
is the least of ``--repeats`` further runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEBIBYTE = 1024**2


def package(first: Tensor, second: Tensor) -> Tensor:
    """Return the package's own form."""
    from recbole_darec.alignment.equations import mean_discrepancy

    return mean_discrepancy(first, second)


def direct(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum from the differences of all pairs of rows, formed for each kernel."""
    import torch

    rows, n = torch.cat([first, second]), len(first)
    kernels: Any = 0.0
    for exponent in range(-3, 2):
        squared = (rows[:, None] - rows).square().sum(-1)
        bandwidth = 2.0**exponent * squared.mean().detach()
        kernels = kernels + torch.exp(-squared / (2.0 * bandwidth))
    sides = (kernels[:n, :n], kernels[n:, n:])
    own = [(side.sum() - side.diagonal().sum()) / (n * (n - 1)) for side in sides]
    value: Tensor = own[0] + own[1] - 2.0 * kernels[:n, n:].mean() + 2.0 / (n - 1)
    return value


FORMS = {"package": package, "direct": direct}


def measure(form: str, n: int, width: int, threads: int, repeats: int) -> dict[str, float]:
    """Run one form in this process and return its figures; sizes in bytes, times in seconds."""
    import torch

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, width, generator=generator).requires_grad_() for _ in range(2))
    torch.autograd.backward(FORMS[form](first[:8], second[:8]))
    first.grad = second.grad = None
    Path("/proc/self/clear_refs").write_text("5")
    resident = status("VmRSS")
    value = FORMS[form](first, second)
    torch.autograd.backward(value)
    peak = status("VmHWM") - resident
    assert first.grad is not None
    figures = {
        "value": value.item(),
        "gradient_norm": first.grad.norm().item(),
        "peak_extra": float(peak),
    }
    del value
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        torch.autograd.backward(FORMS[form](first, second))
        times.append(time.process_time() - begin)
    return {**figures, "seconds": min(times)}


def status(name: str) -> int:
    """Return a size of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def main() -> None:
    """Measure every form in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=672, help="rows n of each side")
    parser.add_argument("--width", type=int, default=128, help="columns d")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each form")
    parser.add_argument("--form", choices=list(FORMS), help="measure one form, print JSON")
    args = parser.parse_args()
    if args.form:
        print(json.dumps(measure(args.form, args.rows, args.width, args.threads, args.repeats)))
        return
    given = [f"--{name}={getattr(args, name)}" for name in ("rows", "width", "threads", "repeats")]
    print("form       value      |gradient|   peak extra      seconds")
    for form in FORMS:
        command = [sys.executable, __file__, f"--form={form}", *given]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        found = json.loads(answer.stdout)
        print(
            f"{form:<8} {found['value']:.7f}  {found['gradient_norm']:.4e} "
            f"{found['peak_extra'] / MEBIBYTE:9.1f} MiB {found['seconds']:11.4f}"
        )


if __name__ == "__main__":
    main()

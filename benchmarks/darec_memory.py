#!/usr/bin/env python
"""Peak memory and time of one step of DaRec's losses on all rows, ``align_sample=all``.

    python benchmarks/darec_memory.py                       # a million rows, 64 wide
    python benchmarks/darec_memory.py --rows 200000 --profile-width 128

One forward and backward pass in a process of its own, on random rows.  The peak is the kernel's
high-water mark of the process, torch and the rows among it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from typing import Any

from recbole_darec.cli.ending import exit_code


def main() -> None:
    """Print the losses, the processor's seconds and the peak."""
    args = _arguments()
    import torch

    from recbole_darec.alignment.contract import TrainingStep, Widths
    from recbole_darec.alignment.darec import DaRec, DaRecOptions

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    kinds = {"user": slice(0, args.rows // 2), "item": slice(args.rows // 2, args.rows)}
    options = DaRecOptions(align_sample="all", uniformity_sample=args.pairs)
    aligner = DaRec(options, Widths(args.width, args.width, args.profile_width, tuple(kinds)))
    collaborative = torch.randn(args.rows, args.width).requires_grad_()
    profiles = torch.randn(args.rows, args.profile_width)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begin = time.process_time()
    losses = aligner.losses(TrainingStep(collaborative, profiles, kinds, {}))
    total: Any = torch.stack(list(losses.values())).sum()
    total.backward()
    busy = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(", ".join(f"{name} {value.item():.6f}" for name, value in losses.items()))
    assert collaborative.grad is not None
    print(f"norm of the gradient: {collaborative.grad.norm().item():.6e}")
    print(
        f"{args.rows:,} rows x {args.width}, profiles {args.profile_width} wide, {args.threads} "
        f"thread(s): {busy:.1f} s of the processor, peak {peak:.2f} GiB ({before:.2f} before)"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--profile-width", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=2048, help="rows of the uniformity term")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(exit_code(main))

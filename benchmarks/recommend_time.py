#!/usr/bin/env python
"""Time recommendations for many users against the bare product and top-k, in one run.

    python benchmarks/recommend_time.py                      # 100,000 users, items; 64 wide
    python benchmarks/recommend_time.py --users 10000 --device cuda

Both take the same users in the same blocks: `torch.topk` over the product of random vectors, and
what `recbole-darec recommend` does with such vectors, 20 known items of each user left out and the
lists written as Parquet.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from recbole_darec.cli.ending import exit_code

K, KNOWN = 20, 20


def main() -> None:
    """Print both times and their ratio."""
    args = _arguments()
    import torch

    from recbole_darec.evaluation.all_rank import UserItems
    from recbole_darec.serving.catalogue import frame_of
    from recbole_darec.serving.output import written
    from recbole_darec.serving.scores import VectorScores, best
    from recbole_darec.serving.tokens import Ids

    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    users, items = (
        torch.from_numpy(rng.standard_normal((n + 1, args.width), dtype=np.float32)).to(args.device)
        for n in (args.users, args.items)
    )
    asked = np.arange(1, args.users + 1)
    known = np.repeat(asked, KNOWN), rng.integers(1, args.items + 1, size=KNOWN * args.users)
    hidden = UserItems(*known, args.users + 1, args.items + 1)
    of_users, of_items = (
        Ids(kind, [f"{kind}{row}" for row in range(n + 1)])
        for kind, n in (("user", args.users), ("item", args.items))
    )
    height = (args.block_mb << 20) // (4 * args.items)

    start = time.perf_counter()
    for first in range(1, args.users + 1, height):
        (users[first : first + height] @ items.T).topk(K)[1].cpu()
    bare = time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        scores = VectorScores(users, items, np.arange(1, args.items + 1))
        with written(Path(folder) / "lists.parquet") as append:
            for found in best(scores, asked, K, hidden, args.block_mb << 20):
                append(frame_of(of_users, of_items, found, ("user_id", "item_id")))
        ours = time.perf_counter() - start
    print(
        f"{args.users:,} users x {args.items:,} items x {args.width}, {height} users a block, "
        f"{args.threads} thread(s), {args.device}\n\n"
        "| | seconds | to product and top-k |\n| --- | --- | --- |\n"
        f"| product and top-k | {bare:.1f} | 1.00 |\n"
        f"| recommendations, written | {ours:.1f} | {ours / bare:.2f} |"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--block-mb", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(exit_code(main))

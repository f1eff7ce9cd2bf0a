"""Caser on a CPU: a step with RecBole's convolutions and with ours, and scores of tiny filters.

    python benchmarks/caser_time.py --dataset prime_pantry --data_path dataset

The data set is one that 'import sequences' or 'prepare --split leave-one-out' wrote.  A convolution
of one channel is a product here, to the same numbers.  Filters that are never active shrink to
denormal numbers under Caser's penalty: half of them are set to such here, and validation scored
with denormals as the processor takes them and as this package does, flushed to 0.  Contestants take
turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from turns import median_seconds, print_table

from recbole_darec.cli.ending import exit_code
from recbole_darec.numerics.precision import flushed_denormals
from recbole_darec.recbole_compat.fast_layers import SingleChannelConv2d

_TINY = 1e-40


def main() -> None:
    """Print one table a question."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    run = _prepared(args)
    print(
        f"{args.dataset}: Caser, d = {args.width}, length {args.length}, batch {args.batch}, "
        f"{args.threads} thread(s), median of {args.repeats}\n"
    )
    _steps(args, run)
    _evaluations(args, run)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2048)
    return parser.parse_args()


def _prepared(args: argparse.Namespace) -> Any:
    from recbole_darec.resolve import resolve
    from recbole_darec.run import prepare

    given = {
        "data_path": args.data_path,
        "embedding_size": args.width,
        "MAX_ITEM_LIST_LENGTH": args.length,
        "train_batch_size": args.batch,
        "eval_mask": "history_all",
        "align": "none",
        "show_progress": False,
        "use_gpu": False,
        "state": "ERROR",
    }
    return prepare(resolve("Caser", args.dataset, None, given))


def _steps(args: argparse.Namespace, run: Any) -> None:
    model, batch = run.model, next(iter(run.train_data))
    fast = [layer for layer in model.modules() if isinstance(layer, SingleChannelConv2d)]

    def step_with(kind: type[nn.Conv2d]) -> Callable[[], None]:
        def step() -> None:
            for layer in fast:
                layer.__class__ = kind  # type: ignore[assignment]
            model.zero_grad()
            model.calculate_loss(batch).backward()

        return step

    model.train()
    steps = {"as PyTorch's": step_with(nn.Conv2d), "as products": step_with(SingleChannelConv2d)}
    print_table("step of Caser, forward and backward", median_seconds(steps, args.repeats))


def _evaluations(args: argparse.Namespace, run: Any) -> None:
    model, loader = run.model, run.valid_data
    with torch.no_grad():
        for name, kernel in model.named_parameters():
            if "conv" in name and name.endswith("weight"):
                kernel[::2].fill_(_TINY)

    def all_scores() -> None:
        with torch.no_grad():
            for users, *_ in loader:
                model.full_sort_predict(users)

    def flushed() -> None:
        with flushed_denormals():
            all_scores()

    model.eval()
    ways = {"denormals as they are": all_scores, "flushed": flushed}
    print()
    print_table(
        "scores of validation, half of the filters tiny", median_seconds(ways, args.repeats)
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))

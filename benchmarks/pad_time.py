"""PAD's phases and its evaluation against the plain backbone, in one run.

    python benchmarks/pad_time.py --dataset prime_pantry --data_path dataset

The data set has sequences and item embeddings ('import sequences', 'profile', 'embed').  The
contestants take turns, epoch by epoch, so that a change of the machine's load meets all of them.
The times are the processor's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from turns import median_seconds

from recbole_darec.cli.ending import exit_code
from recbole_darec.evaluation.ranking import evaluate
from recbole_darec.resolve import resolve
from recbole_darec.run import make_trainer, prepare


def main() -> None:
    """Print one table of epochs and one of evaluations."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    plain, pad = (_run(args, align) for align in ("none", args.align))
    phases = [f"{args.align}, {phase.name}" for phase in pad[0].model.phases]
    print(
        f"{args.dataset}: {args.model}, d = {args.width}, {args.layers} layers, length "
        f"{args.length}, {args.batch} users a step, texts {pad[0].model.profile_rows.shape[1]} "
        f"wide, {args.threads} thread(s), median of {args.turns}\n"
    )
    epochs: dict[str, Callable[[], None]] = {f"{args.model} alone": _epoch_of(*plain)}
    epochs |= {name: _epoch_of(*pad, number) for number, name in enumerate(phases)}
    _compare("epoch", epochs, args.turns)
    runs = {f"{args.model} alone": plain[0], args.align: pad[0]}
    print()
    _compare("all-rank evaluation", {name: _ranking(run) for name, run in runs.items()}, args.turns)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--model", default="SASRec")
    parser.add_argument("--align", default="pad")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    return parser.parse_args()


def _run(args: argparse.Namespace, align: str) -> tuple[Any, Any]:
    options = {
        "align": align,
        "data_path": args.data_path,
        "hidden_size": args.width,
        "inner_size": 4 * args.width,
        "n_layers": args.layers,
        "MAX_ITEM_LIST_LENGTH": args.length,
        "train_batch_size": args.batch,
        "eval_mask": "history_all",
        "show_progress": False,
        "use_gpu": False,
        "state": "ERROR",
    }
    run = prepare(resolve(args.model, args.dataset, None, options))
    return run, make_trainer(run)


def _epoch_of(run: Any, trainer: Any, number: int | None = None) -> Callable[[], None]:
    def epoch() -> None:
        if number is not None:
            trainer.phases.enter(number)
        trainer._train_epoch(run.train_data, 0)

    return epoch


def _ranking(run: Any) -> Callable[[], None]:
    def ranking() -> None:
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.add_(0.0)  # as after an epoch: what is kept of the last one is stale
        evaluate(run.config, run.model, run.train_data, run.test_data)

    return ranking


def _compare(what: str, contestants: dict[str, Callable[[], None]], turns: int) -> None:
    seconds = median_seconds(contestants, turns)
    first = next(iter(seconds.values()))
    for name, found in seconds.items():
        print(f"{what:20} {name:28} {found:8.3f} s {found / first:6.2f} x")


if __name__ == "__main__":
    sys.exit(exit_code(main))

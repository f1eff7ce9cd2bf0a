"""``recbole-darec evaluate``: metrics of a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from recbole_darec.errors import OptionError, nearest

__all__ = ["add_parser", "run"]

_USAGE = "recbole-darec evaluate CHECKPOINT [--option=value ...]"
_DESCRIPTION = "Rank all items with a trained model, e.g. under another --eval_mask."


# Options of RecBole that change what is measured, or where; not what was trained.
_RECBOLE_OPTIONS = ("metrics", "topk", "valid_metric", "data_path", "gpu_id", "use_gpu")


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help=text,
        description=_DESCRIPTION,
        usage=_USAGE,
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a .pth file of a training run")
    parser.set_defaults(handler=run, takes_options=True)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the metrics."""
    from recbole_darec.cli.arguments import check_checkpoint, option_arguments

    options = option_arguments(args.rest)
    _refuse_training_options(options)
    check_checkpoint(args.checkpoint)

    from recbole_darec.evaluation.report import buckets_table, metrics_table
    from recbole_darec.loaded import evaluate_checkpoint

    found = evaluate_checkpoint(args.checkpoint, options)
    by_frequency = found.pop("test_by_frequency", None)
    print(metrics_table(found))
    if by_frequency:
        print(f"\n{buckets_table(by_frequency)}")
    return 0


def _refuse_training_options(names: Iterable[str]) -> None:
    """Raise an error for an option that a trained model has fixed: it would have no effect."""
    from recbole_darec.settings.options import option_names
    from recbole_darec.settings.run_options import EvaluationOptions, ProfileSourceOptions

    allowed = [
        *option_names(EvaluationOptions, ProfileSourceOptions),
        *_RECBOLE_OPTIONS,
        "num_threads",
    ]
    for name in names:
        if name not in allowed:
            raise OptionError(
                f"option '{name}' does not go with evaluate{nearest(name, allowed)}: the "
                f"checkpoint says how its model was made; there are {', '.join(allowed)}"
            )

"""``recbole-darec evaluate``: metrics of a trained model."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the sub-command to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="metrics of a trained model",
        description="Rank all items with a trained model, e.g. under another --eval_mask.",
        allow_abbrev=False,
        usage="recbole-darec evaluate CHECKPOINT [--option=value ...]",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a .pth file of a training run")
    parser.set_defaults(handler=run, takes_options=True)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the metrics."""
    from recbole_darec.cli.arguments import option_arguments

    options = option_arguments(args.rest)

    from recbole_darec.report import metrics_table
    from recbole_darec.run import evaluate_checkpoint

    print(metrics_table(evaluate_checkpoint(args.checkpoint, options)))
    return 0

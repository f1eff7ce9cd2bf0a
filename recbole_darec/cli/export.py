"""``recbole-darec export``: vectors of a trained model."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_darec.cli.arguments import check_checkpoint
from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.serving.options import ExportOptions

__all__ = ["add_parser", "run"]

_DESCRIPTION = (
    "Write user and item vectors whose inner product is the model's score, as .npy with .tokens "
    "and as Parquet, and an index.json that says what they are. docs/serving.md has them in FAISS "
    "and in pgvector."
)


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export", help=text, description=_DESCRIPTION, allow_abbrev=False
    )
    add_options(parser, ExportOptions)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Export, and say what is there; returns 0, or raises a ``UserError``."""
    options = options_from(args, ExportOptions)
    check_checkpoint(options.checkpoint)
    from recbole_darec.serving.export import export

    index = export(options.checkpoint, options.out, form=options.form, overwrite=options.overwrite)
    print(
        f"{index['users']:,} users and {index['items']:,} items, {index['width']} wide, "
        f"in {options.out}"
    )
    return 0

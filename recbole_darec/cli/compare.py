"""``recbole-darec compare``: a study's runs, and its table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.studies.command_options import CompareOptions

__all__ = ["add_parser", "run"]

_DESCRIPTION = (
    "Run what a study lacks, skip what it has, and print its table. Killed anywhere, the same "
    "command goes on. Ends with exit code 3 where runs failed, and says which."
)
_FAILED = 3


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare", help=text, description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "study", metavar="STUDY", help="a yaml, or the name of a bundled study, such as text_filter"
    )
    add_options(parser, CompareOptions)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Run and show; returns 0, 3 where runs failed, or raises a ``UserError``."""
    options = options_from(args, CompareOptions)
    from recbole_darec.studies.study import read_study

    study = read_study(args.study)
    store = options.store or Path("studies") / study.name / "results.sqlite"
    failures = []
    if not options.only_shows:
        from recbole_darec.studies.command import run_here

        failures = run_here(study, store, options)
    elif options.take_from:
        from recbole_darec.studies.command import take_results

        take_results(store, options.take_from)
    if options.figures or options.html is not None:
        from recbole_darec.studies.report import drawn

        for line in drawn(study, store, options):
            print(line)
    if options.table or not options.only_shows:
        from recbole_darec.studies.command import shown

        text = shown(study, store, options)
        if options.out is None:
            sys.stdout.write(text)
        else:
            print(f"table in {options.out}")
    for words, reason, log in failures:
        print(f"failed: {words}: {reason}{f'; log: {log}' if log else ''}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} runs failed; --retry-failed does them again", file=sys.stderr)
    return _FAILED if failures else 0

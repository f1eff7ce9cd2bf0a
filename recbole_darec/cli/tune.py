"""``recbole-darec tune``: hyper-parameters by validation, with RecBole's interface."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.studies.tuning_options import TuningOptions

__all__ = ["add_parser", "run"]

_USAGE = (
    "recbole-darec tune --model=NAME --dataset=NAME --params_file=FILE [--align=NAME] "
    "[--option=value ...]"
)
_DESCRIPTION = """\
Try settings of a params file, choose the best by the validation metric, and write it as a yaml.

  python run_hyper_darec.py --model=LightGCN --dataset=ml-100k --params_file=darec --max_evals=20

Flags and files are those of RecBole's run_hyper.py.  Every option that 'train' takes is given as
--option=value, and is the same for all trials."""
_FAILED = 3


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "tune",
        help=text,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=_USAGE,
        allow_abbrev=False,
    )
    for name, metavar, said in (
        ("model", "NAME", "backbone, such as LightGCN"),
        ("dataset", "NAME", "data set, such as ml-100k"),
        ("align", "NAME", "alignment method, or none"),
        ("config_files", '"A.yaml B.yaml"', "property files of all trials, later ones win"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, help=said)
    add_options(parser, TuningOptions)
    parser.set_defaults(handler=run, takes_options=True)


def run(args: argparse.Namespace) -> int:
    """Tune; returns 0, 3 where every trial failed, or raises a ``UserError``."""
    options = options_from(args, TuningOptions)
    from recbole_darec.cli.arguments import option_arguments
    from recbole_darec.studies.tuning_params import params_file, ranges_of

    given = option_arguments(args.rest)
    if args.align is not None:
        given["align"] = args.align
    files = str(args.config_files or "").split()
    # Every mistake that the files can show is answered before anything heavy is imported.
    path = params_file(options.params_file)
    ranges, fixed = ranges_of(path, args.model, args.dataset, files, given)

    from recbole_darec.studies.tuning_command import tune

    done = tune(args.model, args.dataset, files, given, ranges, fixed, options)
    return 0 if done else _FAILED

"""``recbole-darec train``: train and test one model."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from recbole_darec.errors import OptionError

__all__ = ["add_parser", "run"]

_USAGE = "recbole-darec train --model=NAME --dataset=NAME [--align=NAME] [--option=value ...]"
_DESCRIPTION = """\
Train a backbone with an aligner, and test the best epoch on all items.

  python run_recbole_darec.py --model=LightGCN --dataset=ml-100k
  recbole-darec train --model=LightGCN --dataset=yelp --align=none --learning_rate=0.0005

Every option of RecBole and of this package is given as --option=value."""


class _Help(argparse.Action):
    """Prints the options that the parser does not know one by one, too."""

    def __init__(self, option_strings: Any, dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show this help and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from recbole_darec.cli.arguments import options_help

        print(parser.format_help())
        print(options_help())
        parser.exit()


class _Once(argparse.Action):
    """Stores a value, and refuses a second one that differs."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: Any
    ) -> None:
        before = getattr(namespace, self.dest)
        if before is not None and before != values:
            raise OptionError(f"option --{self.dest} is given twice, as {before!r} and {values!r}")
        setattr(namespace, self.dest, values)


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help=text,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        usage=_USAGE,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action=_Help)
    for name, metavar, text in (
        ("model", "NAME", "backbone, such as LightGCN"),
        ("dataset", "NAME", "data set, such as ml-100k"),
        ("align", "NAME", "alignment method, or none"),
        ("config_files", '"A.yaml B.yaml"', "property files, later ones win"),
        ("preset", "NAME", "properties/preset/NAME.yaml, e.g. paper"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, help=text, action=_Once)
    parser.add_argument(
        "--resume",
        action=_Once,
        nargs="?",
        const=True,
        metavar="FILE",
        help="go on with a run that was cut off, or with one that has a --keep_last state: the "
        "newest with these options, or FILE",
    )
    parser.add_argument(
        "--out",
        action=_Once,
        metavar="FILE",
        help="the best model goes into this file, in place of checkpoint_dir and checkpoint_name; "
        "replaced where it exists",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object of metrics and files on stdout, in place of the table; logs "
        "are on stderr",
    )
    parser.set_defaults(handler=run, takes_options=True)


def run(args: argparse.Namespace) -> int:
    """Train, test, and print the metrics."""
    from recbole_darec.cli.arguments import option_arguments
    from recbole_darec.resolve import resolve
    from recbole_darec.settings.values import parse_value

    options = option_arguments(args.rest)
    for name in ("align", "preset", "resume"):
        value = getattr(args, name)
        if value is not None:
            options[name] = parse_value(value) if isinstance(value, str) else value
    if args.out is not None:
        options.update(_place(args.out, options))
    files = _files(args.config_files)
    # Every mistake that the settings can show is answered before RecBole is imported.
    settings = resolve(args.model, args.dataset, files, None, options)

    from recbole_darec.evaluation.report import buckets_table, metrics_table
    from recbole_darec.run import run_recbole_darec
    from recbole_darec.settings.processes import speaks

    result = run_recbole_darec(args.model, args.dataset, files, command_line=options)
    if not speaks(settings.run):
        return 0
    if args.json:
        print(_json(result))
        return 0
    print(metrics_table({"valid": result["best_valid_result"], "test": result["test_result"]}))
    if by_frequency := result.get("test_by_frequency"):
        print(f"\n{buckets_table(by_frequency)}")
    if result["model_file"] and result["best_epoch"] >= 0:
        print(f"\nbest epoch {result['best_epoch']}, model in {result['model_file']}")
    sys.stdout.flush()
    return 0


def _place(out: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the folder and the name of the checkpoint that ``--out`` names."""
    for name in ("checkpoint_dir", "checkpoint_name"):
        if name in options:
            raise OptionError(f"--out and --{name} name the same file: give one of them")
    folder, _, name = out.rpartition("/")
    if not name:
        raise OptionError(f"--out={out} names no file: write --out={out or './'}model.pth")
    return {
        "checkpoint_dir": folder or ("/" if out.startswith("/") else "."),
        "checkpoint_name": name,
    }


def _json(result: Mapping[str, Any]) -> str:
    """Return a run's result as one line of JSON; what is not a number is null."""

    def known(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: known(part) for name, part in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(known(result), allow_nan=False)


def _files(text: Any) -> list[str]:
    if text is None:
        return []
    files = str(text).split()
    if not files:
        raise OptionError("--config_files is empty: give one or more files, separated by blanks")
    return files

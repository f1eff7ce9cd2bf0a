"""The entry point of ``recbole-darec``: finds the sub-command and hands the arguments to it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from recbole_darec import __version__
from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import OptionError, nearest

__all__ = ["main"]

# Each sub-command: the module in this package that has its add_parser, and what it does.
COMMANDS = {
    "train": ("train", "train and test one model"),
    "tune": ("tune", "search hyper-parameters, judged by validation"),
    "evaluate": ("evaluate", "metrics of a trained model"),
    "compare": ("compare", "the runs of a study, and its table"),
    "recommend": ("recommend", "the best items for users of a trained model"),
    "explain": ("explain", "why users and items are near each other under trained models"),
    "export": ("export", "vectors of a trained model, for a vector store"),
    "import": ("import_", "turn data from elsewhere into RecBole's atomic files"),
    "prepare": (
        "prepare",
        "turn a public raw data set into atomic files, texts included",
    ),
    "profile": ("profile", "profiles of users and items, by a language model or a template"),
    "embed": ("embed", "turn profile texts into profile embeddings"),
}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: one line, no usage text above it."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; see '{self.prog} --help'")


def _parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser, with the options of one sub-command or of all."""
    parser = _Parser(
        prog="recbole-darec",
        description="Language-model knowledge in RecBole's recommenders.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"recbole_darec {__version__}")
    subparsers = parser.add_subparsers(
        title="sub-commands", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    for name, (module, text) in COMMANDS.items():
        if command in (None, name):
            importlib.import_module(f"recbole_darec.cli.{module}").add_parser(subparsers, text)
        else:
            subparsers.add_parser(name, help=text)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the arguments without the program's name; by default those of the process.

    Returns:
        0 on success, 2 for bad input, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # The options alone mean training, as RecBole's own script has it.
    if arguments and arguments[0].startswith("--") and arguments[0] not in ("--help", "--version"):
        arguments.insert(0, "train")
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = _parser(arguments[0] if arguments else "")
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise OptionError(
            f"unknown sub-command '{arguments[0]}'{nearest(arguments[0], COMMANDS)}; "
            f"there are {', '.join(COMMANDS)}"
        )
    if arguments and arguments[0] not in ("train", "evaluate", "tune"):
        # These take RecBole's options, with underscores; the others shall know data_path, too.
        arguments = [_spelt(argument, "_", "-") for argument in arguments]
    elif arguments and arguments[0] == "tune":
        arguments = [_spelt(argument, "-", "_") for argument in arguments]
    args, rest = parser.parse_known_args(arguments)
    if args.command is None and not rest:
        parser.print_help()
        return 0
    if rest and not getattr(args, "takes_options", False):
        raise OptionError(
            f"unknown argument '{rest[0]}'; see "
            f"'{' '.join(filter(None, [parser.prog, args.command]))} --help'"
        )
    if getattr(args, "takes_options", False):
        args.rest = rest
    return int(args.handler(args) or 0)


def _spelt(argument: str, theirs: str, ours: str) -> str:
    """Return a flag as the parser knows it: ``--data_path`` and ``--data-path`` are one."""
    name, equals, value = argument.partition("=")
    if not name.startswith("--"):
        return argument
    return f"--{name[2:].replace(theirs, ours)}{equals}{value}"

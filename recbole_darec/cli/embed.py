"""``recbole-darec embed``: the profiles of a data set into its embedding files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.encoders.options import SIDES, EmbedRequest, EncoderOptions
from recbole_darec.errors import OptionError
from recbole_darec.llm.options import Server
from recbole_darec.settings.options import CommandOptions, option

__all__ = ["EmbedOptions", "add_parser", "run"]

_DESCRIPTION = (
    "Encode NAME.userprofile.jsonl and NAME.itemprofile.jsonl and write NAME.useremb.npy and "
    "NAME.itememb.npy with their tokens and a note of their making. Rows are kept in the store as "
    "they come: a text that is there is not encoded again."
)


class EmbedOptions(CommandOptions):
    """What is encoded, and by what."""

    encoder: str = option(
        ...,
        "openai:MODEL or openai:MODEL@DIMENSIONS, asked of a server; st:NAME or st:FOLDER, a "
        "sentence-transformers model.",
        metavar="KIND:MODEL",
    )
    side: str = option("both", "Whose profiles.", choices=(*SIDES, "both"))
    user_profiles: Path | None = option(
        None, "JSON lines with id and profile, instead of NAME.userprofile.jsonl."
    )
    item_profiles: Path | None = option(
        None, "JSON lines with id and profile, instead of NAME.itemprofile.jsonl."
    )

    @property
    def sides(self) -> tuple[str, ...]:
        """Return the sides that are encoded."""
        return SIDES if self.side == "both" else (self.side,)

    @property
    def profiles(self) -> dict[str, Path]:
        """Return the files that stand for the data set's own, by side."""
        files = {"user": self.user_profiles, "item": self.item_profiles}
        return {side: path for side, path in files.items() if path is not None}

    def check_together(self) -> None:
        """Refuse the file of a side that is not encoded."""
        for side in self.profiles:
            if side not in self.sides:
                raise OptionError(f"--{side}-profiles is without effect with --side={self.side}")


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "embed",
        help=text,
        description=_DESCRIPTION,
        allow_abbrev=False,
    )
    add_options(parser, EmbedRequest, skip={"sides"})
    add_options(parser, EmbedOptions)
    add_options(parser.add_argument_group("encoders"), EncoderOptions)
    add_options(
        parser.add_argument_group("server of openai encoders"), Server, defaults={"concurrency": 8}
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Embed and print the report; returns 0, or raises a ``UserError``."""
    given = options_from(args, EmbedOptions)
    request = options_from(args, EmbedRequest, sides=given.sides, profiles=given.profiles)
    options = options_from(args, EncoderOptions, server=options_from(args, Server))
    from recbole_darec.encoders.embed import embed_profiles
    from recbole_darec.encoders.parse import parse_encoder

    print(embed_profiles(request, parse_encoder(given.encoder, options)).table())
    return 0

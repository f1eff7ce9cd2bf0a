"""``recbole-darec embed``: the profiles of a data set into its embedding files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_darec.cli.server_arguments import add_server_arguments, server_from

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``embed`` to ``subparsers``; returns its parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "embed",
        allow_abbrev=False,
        help="turn profile texts into profile embeddings",
        description=(
            "Encode NAME.userprofile.jsonl and NAME.itemprofile.jsonl and write NAME.useremb.npy "
            "and NAME.itememb.npy with their tokens and a note of their making. Rows are kept in "
            "the store as they come: a text that is there is not encoded again."
        ),
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the data set's name")
    parser.add_argument(
        "--data-path",
        type=Path,
        default=Path("dataset"),
        metavar="DIR",
        help="the data set lies in DIR/NAME (default: dataset)",
    )
    parser.add_argument(
        "--encoder",
        required=True,
        metavar="KIND:MODEL",
        help=(
            "openai:MODEL or openai:MODEL@DIMENSIONS, asked of a server; st:NAME or st:FOLDER, a "
            "sentence-transformers model"
        ),
    )
    parser.add_argument(
        "--side", choices=("user", "item", "both"), default="both", help="(default: both)"
    )
    for side in ("user", "item"):
        parser.add_argument(
            f"--{side}-profiles",
            type=Path,
            metavar="FILE",
            help=f"JSON lines with id and profile, instead of NAME.{side}profile.jsonl",
        )
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        default="float16",
        help="of the files (default: float16); the store keeps float32",
    )
    parser.add_argument(
        "--batch-size",
        type=_whole,
        metavar="N",
        help="texts a batch (default: 64 for st, 256 for openai)",
    )
    parser.add_argument("--store", type=Path, metavar="FILE", help="(default: NAME.store.sqlite)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace embeddings that are there"
    )
    _add_local(parser.add_argument_group("st encoders"))
    _add_server(parser.add_argument_group("openai encoders"))
    parser.set_defaults(handler=run)
    return parser


def _add_local(group: Any) -> None:
    group.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="D[,D]",
        help="cpu, cuda, cuda:1, …; several for a process each (default: a GPU if there is one)",
    )
    group.add_argument(
        "--workers", type=_whole, metavar="N", help="processes (default: one for each device)"
    )
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="let an existing Ray cluster do it: host:port, auto",
    )
    group.add_argument("--ray-workers", type=_whole, metavar="N", help="workers there (default: 1)")


def _add_server(group: Any) -> None:
    add_server_arguments(group, concurrency=8)
    group.add_argument(
        "--max-tokens",
        type=_whole,
        metavar="N",
        help="of one text; a longer one is split (default: 8191, and what the server refuses)",
    )


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def run(args: argparse.Namespace) -> int:
    """Embed and print the report; returns 0, or raises a ``UserError``."""
    from recbole_darec.encoders import EncoderOptions, parse_encoder
    from recbole_darec.encoders.embed import SIDES, EmbedRequest, embed_profiles
    from recbole_darec.errors import OptionError

    profiles = {"user": args.user_profiles, "item": args.item_profiles}
    sides = SIDES if args.side == "both" else (args.side,)
    for side, path in profiles.items():
        if path is not None and side not in sides:
            raise OptionError(f"--{side}-profiles is without effect with --side={args.side}")
    request = EmbedRequest(
        dataset=args.dataset,
        data_path=args.data_path,
        sides=sides,
        dtype=args.dtype,
        profiles={side: path for side, path in profiles.items() if path is not None},
        store=args.store,
        overwrite=args.overwrite,
    )
    devices = [d.strip() for given in args.device for d in given.split(",")]
    encoder = parse_encoder(
        args.encoder,
        EncoderOptions(
            batch_size=args.batch_size,
            devices=tuple(d for d in devices if d),
            workers=args.workers,
            ray_address=args.ray_address,
            ray_workers=args.ray_workers,
            server=server_from(args),
            requests_per_minute=args.requests_per_minute,
            tokens_per_minute=args.tokens_per_minute,
            max_tokens=args.max_tokens,
        ),
    )
    print(embed_profiles(request, encoder).table())
    return 0

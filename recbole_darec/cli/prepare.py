"""``recbole-darec prepare amazon | yelp | steam | movielens``: public raw data sets."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser", "run"]

# source -> (help, description, the raw files that can be named)
_SOURCES = {
    "amazon": (
        "Amazon reviews and metadata of 2014, 2018 or 2023",
        "Read Amazon's reviews and, where there is, metadata: JSON lines (2014: Python literals), "
        "gzip or not, told apart by their content.",
        ("reviews", "metadata"),
    ),
    "yelp": (
        "Yelp's review.json, business.json and user.json",
        "Read Yelp's open data set: (yelp_academic_dataset_)review.json and, where they are, "
        "business.json and user.json, gzip or not.",
        ("reviews", "metadata", "users"),
    ),
    "steam": (
        "Steam reviews and games, as Python literals",
        "Read steam_reviews.json or australian_user_reviews.json and, where there is, "
        "steam_games.json, gzip or not. Nothing in the lines is run.",
        ("reviews", "metadata"),
    ),
    "movielens": (
        "MovieLens ml-1m or ml-100k",
        "Read ratings.dat, movies.dat and users.dat (1M), or u.data, u.item and u.user (100K).",
        (),
    ),
}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``prepare`` and its sources to ``subparsers``; returns its parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "prepare",
        allow_abbrev=False,
        help="turn a public raw data set into RecBole's atomic files, texts included",
        description=(
            "Turn a public raw data set into RecBole's atomic files: faults counted and skipped, "
            "low ratings dropped, k-core, a fixed split, texts carried along."
        ),
    )
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    for name, (short, description, files) in _SOURCES.items():
        source = sources.add_parser(name, allow_abbrev=False, help=short, description=description)
        source.add_argument(
            "--raw", required=True, metavar="DIR", help="the folder with the raw files"
        )
        for file in files:
            source.add_argument(
                f"--{file}", metavar="FILE", help=f"the raw file with the {file}, if not found"
            )
        _common(source, name)
    return parser


def _common(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--dataset", default=name, metavar="NAME", help=f"the data set's name (default: {name})"
    )
    parser.add_argument(
        "--out", default="dataset", metavar="DIR", help="where DIR/NAME is made (default: dataset)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier data set of that name"
    )
    if name != "steam":
        parser.add_argument(
            "--min-rating",
            type=float,
            metavar="R",
            help="drop interactions rated lower (default: 3)",
        )
    parser.add_argument(
        "--k-core",
        type=int,
        default=10,
        metavar="K",
        help="keep users and items with at least K interactions; 0 keeps all (default: 10)",
    )
    parser.add_argument(
        "--split",
        default="3:1:1",
        metavar="A:B:C",
        help="ratios of train, valid and test within each user (default: 3:1:1)",
    )
    parser.add_argument(
        "--split-seed", type=int, default=2020, metavar="N", help="seed of --split (default: 2020)"
    )
    parser.add_argument(
        "--max-faults",
        default="1%",
        metavar="P%",
        help="stop when more than this share of a file's lines cannot be used (default: 1%%)",
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Prepare and print the report; returns 0, or raises a ``UserError``."""
    from recbole_darec.sources.raw.lines import parse_share
    from recbole_darec.sources.raw.prepare import prepare

    report = prepare(
        args.source,
        args.raw,
        args.dataset,
        args.out,
        reviews=getattr(args, "reviews", None),
        metadata=getattr(args, "metadata", None),
        users=getattr(args, "users", None),
        min_rating=getattr(args, "min_rating", None),
        k_core=args.k_core,
        split=args.split,
        split_seed=args.split_seed,
        max_faults=parse_share(args.max_faults),
        overwrite=args.overwrite,
    )
    print(report.table())
    return 0

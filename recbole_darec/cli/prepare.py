"""``recbole-darec prepare SOURCE``: public raw data sets."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.sources.options import PrepareOptions, parse_share

__all__ = ["add_parser", "run"]

_DESCRIPTION = (
    "Turn a public raw data set into RecBole's atomic files: faults counted and skipped, low "
    "ratings dropped, k-core, a fixed split, texts carried along."
)

# source -> (help, description, the raw files that can be named)
_SOURCES = {
    "amazon": (
        "Amazon reviews and metadata of 2014, 2018 or 2023",
        "Read Amazon's reviews and, where there is, metadata: JSON lines (2014: Python literals), "
        "gzip or not, or Parquet, told apart by their content; or the ratings of 2023 as CSV.",
        ("reviews", "metadata"),
    ),
    "yelp": (
        "Yelp's review.json, business.json and user.json",
        "Read Yelp's open data set: (yelp_academic_dataset_)review.json and, where they are, "
        "business.json and user.json, gzip or not.",
        ("reviews", "metadata", "users"),
    ),
    "steam": (
        "Steam reviews and games, as Python literals or CSV",
        "Read steam_reviews.json or australian_user_reviews.json and, where there is, "
        "steam_games.json, gzip or not (nothing in the lines is run); or recommendations.csv, "
        "games.csv and games_metadata.json.",
        ("reviews", "metadata"),
    ),
    "movielens": (
        "MovieLens 100K, 1M, 20M, 25M, 32M or latest",
        "Read ratings.csv and movies.csv (20M, 25M, 32M, latest), ratings.dat, movies.dat and "
        "users.dat (1M), or u.data, u.item and u.user (100K). Tags are left out.",
        (),
    ),
    "goodreads": (
        "Goodreads (UCSD Book Graph): interactions or reviews, and books",
        "Read goodreads_interactions_….json or goodreads_reviews_….json and, where they are, "
        "goodreads_books_….json, goodreads_book_authors.json, goodreads_book_genres_initial.json, "
        "gzip or not.",
        ("reviews", "metadata"),
    ),
    "mind": (
        "MIND: news and the clicks on it",
        "Read behaviors.tsv and news.tsv of all parts below the folder: clicks and histories are "
        "the interactions.",
        (),
    ),
}


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "prepare",
        help=text,
        description=_DESCRIPTION,
        allow_abbrev=False,
    )
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    for name, (short, description, files) in _SOURCES.items():
        source = sources.add_parser(name, allow_abbrev=False, help=short, description=description)
        unknown = {"reviews", "metadata", "users"} - set(files)
        if name in ("steam", "mind"):  # which have no ratings
            unknown.add("min_rating")
        add_options(source, PrepareOptions, skip=unknown)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Prepare and print the report; returns 0, or raises a ``UserError``."""
    options = options_from(args, PrepareOptions, read={"max_faults": parse_share})
    from recbole_darec.sources.raw.prepare import prepare

    print(prepare(args.source, **dict(options)).table())
    return 0

"""``recbole-darec recommend``: the best items for users of a trained model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from recbole_darec.cli.arguments import check_checkpoint
from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.serving.options import RecommendOptions

__all__ = ["add_parser", "run"]

_DESCRIPTION = (
    "Rank items with a trained model and write user_id, rank, item_id and score, in the data set's "
    "own ids; or, with --similar-items or --similar-users, the nearest rows by cosine. The file is "
    "there when all of it is written."
)


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "recommend", help=text, description=_DESCRIPTION, allow_abbrev=False
    )
    add_options(parser, RecommendOptions)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Recommend, and write or print; returns 0, or raises a ``UserError``."""
    options = options_from(args, RecommendOptions)
    from recbole_darec.serving.tokens import read_tokens, tokens_of

    similar, kind = options.similar_items, "item"
    if similar is None:
        similar, kind = options.similar_users, "user"
    flag = f"--similar-{kind}s" if similar is not None else "--users"
    asked = tokens_of(options.users if similar is None else similar, flag)
    excluded, only = (
        None if path is None else read_tokens(path, flag)
        for path, flag in (
            (options.exclude_items, "--exclude-items"),
            (options.only_items, "--only-items"),
        )
    )
    new = None if options.interactions is None else _interactions(options.interactions)
    check_checkpoint(options.checkpoint)

    from recbole_darec.serving.output import check_extra, table, titles_of, written
    from recbole_darec.serving.recommender import Recommender

    if options.out is not None:
        check_extra(options.out)
    recommender = Recommender.of(options.checkpoint, block_mb=options.block_mb)
    if similar is not None:
        total = recommender.n_rows(kind, asked)
        frames = recommender.similar(kind, asked, options.k)
    else:
        total = recommender.n_rows("user", asked or list(new or ()) or None)
        frames = recommender.recommend(
            asked,
            options.k,
            exclude=options.exclude,
            exclude_items=excluded or (),
            only_items=only,
            unknown=options.unknown,
            interactions=new,
        )
    if options.out is None:
        titles = titles_of(recommender.run) if kind == "item" or similar is None else {}
        print(table((frame for frame, _ in frames), titles))
        return 0
    with written(options.out) as append:
        for frame in _with_bar(frames, total):
            append(frame)
    print(f"recommendations in {options.out}")
    return 0


def _interactions(path: Path) -> Mapping[str, list[str]]:
    """Return the items of each user of a table, in order of time where it has times."""
    from recbole_darec.serving.fold_in import by_user
    from recbole_darec.sources.importers.table_reader import TableForm, read_interactions

    frame, _ = read_interactions([path], TableForm())
    if "timestamp" in frame.columns:
        frame = frame.sort_values("timestamp", kind="stable")
    return by_user(frame["user_id"].tolist(), frame["item_id"].tolist())


def _with_bar(frames: Iterable[tuple[Any, int]], total: int) -> Iterator[Any]:
    """Show on a terminal how many of the users are done."""
    from tqdm import tqdm

    with tqdm(
        total=total, desc="recommend", unit="user", file=sys.stderr, disable=None, leave=False
    ) as bar:
        for frame, n_users in frames:
            yield frame
            bar.update(n_users)

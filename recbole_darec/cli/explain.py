"""``recbole-darec explain``: far users that a model brings near, and where its items come from."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING, Any

from recbole_darec.cli.arguments import check_checkpoint
from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.serving.options import ExplainOptions

if TYPE_CHECKING:
    import pandas as pd

    from recbole_darec.serving.explain import Explanation

__all__ = ["add_parser", "run"]

_DESCRIPTION = (
    "Of one user: the nearest users more than three hops away under each model, with relevance "
    "(cosine), rank and profile texts; and the best items with the nearest training items. One "
    "checkpoint, or several of one data set beside each other."
)


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain", help=text, description=_DESCRIPTION, allow_abbrev=False
    )
    add_options(parser, ExplainOptions)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Explain, and print; returns 0, or raises a ``UserError``."""
    options = options_from(args, ExplainOptions, whole=("checkpoint",))
    for path in options.checkpoint:
        check_checkpoint(path)

    from recbole_darec.serving.explain import explain

    found = explain(
        options.checkpoint,
        options.user,
        hops=options.hops,
        k=options.k,
        items=options.items,
        near=options.near,
    )
    print(_json(found) if options.as_json else _text(found, options.hops))
    return 0


def _text(found: Explanation, hops: int) -> str:
    lines = [f"user {found.user}"]
    lines += _told(found.user_profiles.get(found.user))
    lines += ["", f"nearest users more than {hops} hops away", _shown(found.neighbours)]
    for user in found.neighbours["user_id"]:
        if user in found.user_profiles:
            lines += ["", f"user {user}", *_told(found.user_profiles[user])]
    items = found.items
    if found.titles:
        items = items.assign(
            title=items["item_id"].map(found.titles),
            training_title=items["training_item_id"].map(found.titles),
        )
    lines += ["", "best items, each with the nearest items of the user's training", _shown(items)]
    return "\n".join(lines)


def _told(profile: str | None) -> list[str]:
    return [] if profile is None else [textwrap.fill(profile, 96, initial_indent="  ",
                                                     subsequent_indent="  ")]  # fmt: skip


def _shown(frame: pd.DataFrame) -> str:
    text = frame.to_string(
        index=False, float_format=lambda value: f"{value:.4f}", na_rep="no path", max_colwidth=40,
        justify="left",
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in text.splitlines())


def _json(found: Explanation) -> str:
    profiles = {
        user: found.user_profiles[user]
        for user in (found.user, *found.neighbours["user_id"])
        if user in found.user_profiles
    }
    content = {
        "user": found.user,
        "models": found.models,
        "neighbours": json.loads(found.neighbours.to_json(orient="records", double_precision=15)),
        "items": json.loads(found.items.to_json(orient="records", double_precision=15)),
        "profiles": profiles,
    }
    return json.dumps(content, ensure_ascii=False)

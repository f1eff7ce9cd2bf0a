"""``recbole-darec import rlmrec | table``: data from elsewhere into RecBole's atomic files."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``import`` and its two sources to ``subparsers``; returns its parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "import",
        allow_abbrev=False,
        help="turn data from elsewhere into RecBole's atomic files",
        description="Turn data from elsewhere into RecBole's atomic files, profiles included.",
    )
    sources = parser.add_subparsers(dest="source_kind", metavar="SOURCE", required=True)

    rlmrec = sources.add_parser(
        "rlmrec",
        allow_abbrev=False,
        help="RLMRec's release: pickled matrices with a fixed split, profiles, embeddings",
        description=(
            "Read RLMRec's release (trn_mat.pkl, val_mat.pkl, tst_mat.pkl; where present "
            "usr_emb_np.pkl, itm_emb_np.pkl, usr_prf.pkl, itm_prf.pkl). Nothing in the pickles "
            "is run."
        ),
    )
    rlmrec.add_argument(
        "--source",
        required=True,
        metavar="DIR",
        help="the release's folder, a folder of such folders, or a .zip of them",
    )
    _common(rlmrec)

    table = sources.add_parser(
        "table",
        allow_abbrev=False,
        help="one's own data: CSV or Parquet, JSON lines, .npy",
        description="Read a table of interactions, and profiles and embeddings where there are.",
    )
    table.add_argument(
        "--interactions",
        required=True,
        metavar="X.csv",
        help=".csv, .tsv (also .gz) or .parquet: user_id, item_id[, split][, rating][, timestamp]",
    )
    for kind, letter in (("user", "U"), ("item", "I")):
        table.add_argument(
            f"--{kind}-profiles",
            metavar=f"{letter}.jsonl",
            help="JSON lines with id and profile",
        )
        table.add_argument(
            f"--{kind}-embeddings",
            metavar=f"{letter}.npy",
            help=f"matrix; row n belongs to record n of --{kind}-profiles or of --{kind}-ids",
        )
        table.add_argument(
            f"--{kind}-ids",
            metavar=f"{letter}.txt",
            help=f"one id a line for the rows of --{kind}-embeddings",
        )
    table.add_argument(
        "--split",
        default="none",
        metavar="none|3:1:1",
        help=(
            "without a split column: none leaves the split to RecBole, 3:1:1 fixes a random one "
            "within each user (default: none)"
        ),
    )
    table.add_argument(
        "--split-seed", type=int, default=2020, metavar="N", help="seed of --split (default: 2020)"
    )
    _common(table)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the data set's name")
    parser.add_argument(
        "--out", default="dataset", metavar="DIR", help="where DIR/NAME is made (default: dataset)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier import of that name"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Import and print the report; returns 0, or raises a ``UserError``."""
    if args.source_kind == "rlmrec":
        from recbole_darec.sources.importers.rlmrec import import_rlmrec

        report = import_rlmrec(args.source, args.dataset, args.out, overwrite=args.overwrite)
    else:
        from recbole_darec.sources.importers.table import import_table

        report = import_table(
            dataset=args.dataset,
            out=args.out,
            interactions=args.interactions,
            user_profiles=args.user_profiles,
            item_profiles=args.item_profiles,
            user_embeddings=args.user_embeddings,
            item_embeddings=args.item_embeddings,
            user_ids=args.user_ids,
            item_ids=args.item_ids,
            split=args.split,
            split_seed=args.split_seed,
            overwrite=args.overwrite,
        )
    print(report.table())
    return 0

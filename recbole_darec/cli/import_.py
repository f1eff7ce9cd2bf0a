"""``recbole-darec import``: data from elsewhere (a release, tables, lists) into atomic files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.errors import OptionError
from recbole_darec.sources.options import (
    RLMRecImportOptions,
    SequenceImportOptions,
    TableImportOptions,
)

__all__ = ["add_parser", "run"]

_DESCRIPTION = "Turn data from elsewhere into RecBole's atomic files, profiles included."


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "import",
        help=text,
        description=_DESCRIPTION,
        allow_abbrev=False,
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
    add_options(rlmrec, RLMRecImportOptions)
    table = sources.add_parser(
        "table",
        allow_abbrev=False,
        help="one's own data: CSV or Parquet, JSON lines, .npy",
        description="Read a table of interactions, and profiles and embeddings where there are.",
    )
    add_options(table, TableImportOptions)
    sequences = sources.add_parser(
        "sequences",
        allow_abbrev=False,
        help="ordered lists of items a user, for sequential models",
        description=(
            "Read ordered lists of items and the items' texts: atomic files with ranks as times, "
            "split leave-one-out. Lists are parsed and never run."
        ),
    )
    declared = SequenceImportOptions.model_fields["sequences"]
    sequences.add_argument("sequences", metavar="FILE", help=str(declared.description).rstrip("."))
    add_options(sequences, SequenceImportOptions, skip={"sequences"})
    parser.set_defaults(handler=run)


_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    """Return the table's own name of each column by ours."""
    found = {}
    for pair in pairs:
        name, equals, own = (part.strip() for part in pair.partition("="))
        if not (name and equals and own):
            raise OptionError(f"--columns {pair}: write user_id=THEIRS, with the table's own name")
        found[name] = own
    return found


def run(args: argparse.Namespace) -> int:
    """Import and print the report; returns 0, or raises a ``UserError``."""
    report: Any
    if args.source_kind == "rlmrec":
        release = options_from(args, RLMRecImportOptions)
        from recbole_darec.sources.importers.rlmrec import import_rlmrec

        report = import_rlmrec(**dict(release))
    elif args.source_kind == "sequences":
        lists = options_from(args, SequenceImportOptions)
        from recbole_darec.sources.lists.sequences import import_sequences

        report = import_sequences(**dict(lists))
    else:
        tables = options_from(args, TableImportOptions, whole=("interactions",))
        from recbole_darec.sources.importers.table import import_table

        given = {**dict(tables), "columns": _columns(tables.columns)}
        given["separator"] = _SEPARATORS.get(str(tables.separator), tables.separator)
        report = import_table(**given)
    print(report.table())
    return 0

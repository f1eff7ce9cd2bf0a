"""The options of the commands that bring data in from elsewhere."""

from __future__ import annotations

from pathlib import Path

from recbole_darec.errors import DataError, OptionError
from recbole_darec.settings.options import CommandOptions, option

__all__ = [
    "EMPTY_CELLS",
    "LEAVE_ONE_OUT",
    "FolderOptions",
    "PrepareOptions",
    "RLMRecImportOptions",
    "SelectionOptions",
    "SequenceImportOptions",
    "TableImportOptions",
    "parse_share",
]

_LARGEST_SEED = 2**32 - 1

LEAVE_ONE_OUT = "leave-one-out"
EMPTY_CELLS = ("error", "drop-rows", "drop-column")


class FolderOptions(CommandOptions):
    """Where a data set is made."""

    out: Path = option(Path("dataset"), "Where DIR/NAME is made.", metavar="DIR")
    overwrite: bool = option(False, "Replace an earlier data set of that name.")


class RLMRecImportOptions(FolderOptions):
    """What is read of RLMRec's release."""

    dataset: str = option(..., "The data set's name.", metavar="NAME")
    source: Path = option(
        ...,
        "The release's folder, a folder of such folders, or a .zip of them.",
        metavar="DIR",
    )


class SequenceImportOptions(FolderOptions):
    """What is read of ordered lists."""

    dataset: str = option(..., "The data set's name.", metavar="NAME")
    sequences: Path = option(
        ...,
        ".csv, .tsv or JSON lines (also .gz): a user, and a list of items as JSON or as a Python "
        "literal, oldest first.",
        metavar="FILE",
    )
    items: Path | None = option(
        None, ".csv, .tsv or JSON lines (also .gz): an item's id, and its texts.", metavar="FILE"
    )


class TableImportOptions(FolderOptions):
    """What is read of one's own data."""

    dataset: str = option(..., "The data set's name.", metavar="NAME")
    interactions: tuple[str, ...] = option(
        ...,
        ".csv, .tsv (also .gz) or .parquet: user_id, item_id[, split][, rating][, timestamp]. "
        "Given several times, the tables are read one below the other; train=X.csv, valid=Y.csv "
        "and test=Z.csv say whose part a table is.",
        metavar="X.csv",
    )
    columns: tuple[str, ...] = option(
        (),
        "The table's own names: user_id=userId,item_id=movieId,timestamp=date.",
        metavar="OURS=THEIRS,…",
    )
    separator: str | None = option(
        None,
        "What stands between the columns: a character, or tab, comma, semicolon, pipe; by default "
        "what the header shows.",
        metavar="SEP",
    )
    empty: str = option(
        "error",
        "Where a rating or a time is not there: an error, drop-rows or drop-column.",
        choices=EMPTY_CELLS,
    )
    user_profiles: Path | None = option(None, "JSON lines with id and profile.", metavar="U.jsonl")
    user_embeddings: Path | None = option(
        None,
        "Matrix; row n belongs to record n of --user-profiles or of --user-ids.",
        metavar="U.npy",
    )
    user_ids: Path | None = option(
        None, "One id per line for the rows of --user-embeddings.", metavar="U.txt"
    )
    item_profiles: Path | None = option(None, "JSON lines with id and profile.", metavar="I.jsonl")
    item_embeddings: Path | None = option(
        None,
        "Matrix; row n belongs to record n of --item-profiles or of --item-ids.",
        metavar="I.npy",
    )
    item_ids: Path | None = option(
        None, "One id per line for the rows of --item-embeddings.", metavar="I.txt"
    )
    split: str = option(
        "none",
        "Without a split column: none leaves the split to RecBole, 3:1:1 fixes a random one "
        "within each user.",
        metavar="none|3:1:1",
    )
    split_seed: int = option(2020, "Seed of --split.", low=0, high=_LARGEST_SEED)


class SelectionOptions(CommandOptions):
    """What is kept of a raw data set, and how it is split."""

    min_rating: float | None = option(
        None, "Drop interactions rated lower (default: 3).", metavar="R"
    )
    k_core: int = option(
        10, "Keep users and items with at least K interactions; 0 keeps all.", low=0, metavar="K"
    )
    user_core: int | None = option(
        None, "Of the users alone, instead of --k-core.", low=0, metavar="K"
    )
    item_core: int | None = option(
        None, "Of the items alone, instead of --k-core.", low=0, metavar="K"
    )
    split: str = option(
        "3:1:1",
        "Ratios of train, valid and test within each user, at random, or leave-one-out: ranks as "
        "times, each user's last two held out.",
        metavar="A:B:C|leave-one-out",
    )
    latest: int = option(
        0, "With leave-one-out: keep each user's N latest; 0 keeps all.", low=0, metavar="N"
    )
    keep_repeats: bool = option(
        False, "With leave-one-out: keep every interaction of a pair, not the latest alone."
    )
    ties: str = option(
        "file",
        "With leave-one-out: the order of one user's interactions of one time, as in the file or "
        "at random by --split-seed.",
        choices=("file", "random"),
    )
    split_seed: int = option(2020, "Seed of --split.", low=0, high=_LARGEST_SEED)
    max_faults: float = option(
        0.01,
        "Stop when more than this share of a file's lines cannot be used (default: 1%).",
        low=0.0,
        high=1.0,
        metavar="P%",
    )

    @property
    def in_time(self) -> bool:
        """Whether interactions are put in order and held out by time."""
        return self.split == LEAVE_ONE_OUT

    def check_together(self) -> None:
        """Refuse what says something about an order that is not kept."""
        if self.in_time:
            return
        for name, given in (
            ("latest", self.latest > 0),
            ("keep-repeats", self.keep_repeats),
            ("ties", self.ties != "file"),
        ):
            if given:
                raise OptionError(
                    f"--{name} is without effect on a split at random: give --split leave-one-out, "
                    "or leave it out"
                )


class PrepareOptions(SelectionOptions, FolderOptions):
    """What is read of a public raw data set, and where it goes."""

    dataset: str | None = option(
        None, "The data set's name (default: the source's).", metavar="NAME"
    )
    raw: Path = option(..., "The folder with the raw files.", metavar="DIR")
    reviews: Path | None = option(None, "The raw file with the reviews, if not found.")
    metadata: Path | None = option(None, "The raw file with the metadata, if not found.")
    users: Path | None = option(None, "The raw file with the users, if not found.")


def parse_share(text: str) -> float:
    """Read a share in percent (``"5"``, ``"5%"``, ``"0.5 %"``) as a number between 0 and 1.

    Raises:
        DataError: it is no number between 0 and 100.
    """
    try:
        percent = float(text.strip().rstrip("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise DataError(f"a share of faults is a percentage from 0 to 100 such as 5%, not '{text}'")
    return percent / 100

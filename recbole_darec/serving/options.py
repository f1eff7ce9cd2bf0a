"""What can be asked of a trained model; read by the command line, so nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import CommandOptions, option

__all__ = [
    "EXCLUDED",
    "FORMATS",
    "ExplainOptions",
    "ExportOptions",
    "RecommendOptions",
    "check_output",
]

EXCLUDED = ("train", "train_valid", "all", "none")
FORMATS = (".parquet", ".csv", ".jsonl")


class RecommendOptions(CommandOptions):
    """For whom, out of which items, and where to."""

    checkpoint: Path = option(..., "A .pth file of a training run.")
    users: str = option(
        "all",
        "all, user ids with commas between them, or a file with one user id per line.",
        metavar="FILE|all|U1,U2",
    )
    k: int = option(20, "Items per user, at most.", low=1)
    out: Path | None = option(
        None, "Output file, .parquet, .csv or .jsonl; without it a table is printed."
    )
    exclude: str = option(
        "train",
        "Items of a user that are left out: those of training, of training and validation, of all "
        "parts, or none.",
        choices=EXCLUDED,
    )
    exclude_items: Path | None = option(None, "File with item ids that nobody is to see.")
    only_items: Path | None = option(None, "File with the item ids to choose from.")
    similar_items: str | None = option(
        None, "Instead of users: the items most like these.", metavar="FILE|all|I1,I2"
    )
    similar_users: str | None = option(
        None, "Instead of users: the users most like these.", metavar="FILE|all|U1,U2"
    )
    unknown: str = option(
        "error",
        "Users that the model does not know: an error, left out with a warning, or the most "
        "popular items.",
        choices=("error", "skip", "cold"),
    )
    interactions: Path | None = option(
        None,
        "Table with user_id and item_id of users that the model does not know: they are folded in "
        "without training, and asked for where --users is not given.",
    )
    block_mb: int = option(256, "Most memory in MiB for the scores of a block.", low=1)
    overwrite: bool = option(False, "Replace the output file where it exists.")

    def check_together(self) -> None:
        """Refuse what does not go together, and an output that cannot be written."""
        if self.similar_items is not None and self.similar_users is not None:
            raise OptionError("--similar-items and --similar-users: give one of them")
        if self.similar_items is not None or self.similar_users is not None:
            flag = "--similar-items" if self.similar_items is not None else "--similar-users"
            for name in (
                "users",
                "exclude",
                "exclude_items",
                "only_items",
                "unknown",
                "interactions",
            ):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise OptionError(f"{self.name_of(name)} is without effect with {flag}")
        if self.out is not None:
            check_output(self.out, overwrite=self.overwrite)


class ExportOptions(CommandOptions):
    """Which model is exported, in which form, and where to."""

    checkpoint: Path = option(..., "A .pth file of a training run.")
    out: Path = option(..., "The folder that is made.", metavar="FOLDER")
    form: str = option(
        "both", "Form of the vectors.", flag="format", choices=("both", "npy", "parquet")
    )
    overwrite: bool = option(False, "Replace the folder where it exists.")


class ExplainOptions(CommandOptions):
    """Which models are compared, and about whom."""

    checkpoint: tuple[Path, ...] = option(
        ..., "A .pth file of a training run; again for each model to compare."
    )
    user: str = option(..., "The user's own id.", metavar="ID")
    hops: int = option(3, "Users more than so many hops away are compared.", low=1)
    k: int = option(5, "Nearest of them under each model.", low=1)
    items: int = option(5, "Recommended items of each model.", low=1)
    near: int = option(2, "Training items that are shown for each item.", low=1)
    as_json: bool = option(False, "Print one JSON object, without rounding.", flag="json")


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output file of an unknown kind, in a folder that is not there, or that exists.

    Raises:
        OptionError: in one line, with the way out.
    """
    if path.suffix not in FORMATS:
        raise OptionError(f"--out={path}: the name ends in .parquet, .csv or .jsonl")
    if not path.parent.is_dir():
        raise OptionError(f"--out={path}: there is no folder '{path.parent}'; make it first")
    if path.is_dir():
        raise OptionError(f"--out={path} is a folder: name a file in it")
    if path.exists() and not overwrite:
        raise OptionError(f"--out={path} exists: take another name, or --overwrite")

"""What can be asked of a trained model; read by the command line, so nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import CommandOptions, option

__all__ = [
    "EXCLUDED",
    "FORMATS",
    "ColdOptions",
    "ExplainOptions",
    "ExportOptions",
    "RecommendOptions",
    "check_output",
]

EXCLUDED = ("train", "train_valid", "all", "none")
FORMATS = (".parquet", ".csv", ".jsonl")


class ColdOptions(CommandOptions):
    """Users and items that the model does not know, by their profiles."""

    cold_items: Path | None = option(
        None,
        "Items that the model does not know: JSON lines with id and profile, or embeddings (.npy "
        "with .tokens, .npz with ids and vectors).",
        metavar="FILE",
    )
    cold_users: Path | None = option(None, "The same for users.", metavar="FILE")
    cold_neighbours: int = option(
        10,
        "Trained rows whose mean a new one is made of, the nearest; relational has n_neighbours.",
        low=1,
    )
    cold_by: str = option(
        "aligner",
        "How new ones are ranked: by the aligner's way where it has one, or always by the mean of "
        "the nearest trained rows; evaluate tells which is better on held-out items.",
        choices=("aligner", "profile_knn"),
    )
    encoder: str | None = option(
        None,
        "Encoder of the texts, as openai:MODEL or st:NAME, where the run's embedding file does not "
        "name its own.",
        metavar="KIND:MODEL",
    )

    def check_together(self) -> None:
        """Refuse what says how to read a file where there is none."""
        if self.cold_items is None and self.cold_users is None:
            for name in ("cold_by", "cold_neighbours", "encoder"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise OptionError(
                        f"{self.name_of(name)} is without effect: give --cold-items or --cold-users"
                    )


class RecommendOptions(ColdOptions):
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
        "Users that the model does not know: an error, left out with a warning, or ranked by their "
        "profile in the run's embedding file, without one the most popular items.",
        choices=("error", "skip", "cold"),
    )
    interactions: Path | None = option(
        None,
        "Table with user_id and item_id of users that the model does not know: they are folded in "
        "without training, and asked for where --users is not given.",
    )
    cold_items_only: bool = option(False, "Choose from --cold-items alone.")
    block_mb: int = option(256, "Most memory in MiB for the scores of a block.", low=1)
    overwrite: bool = option(False, "Replace the output file where it exists.")

    def check_together(self) -> None:
        """Refuse what does not go together, and an output that cannot be written."""
        super().check_together()
        if self.cold_items_only and self.cold_items is None:
            raise OptionError("--cold-items-only goes with --cold-items")
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
                "cold_items",
                "cold_users",
                "cold_items_only",
            ):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise OptionError(f"{self.name_of(name)} is without effect with {flag}")
        if self.out is not None:
            check_output(self.out, overwrite=self.overwrite)


class ExportOptions(ColdOptions):
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

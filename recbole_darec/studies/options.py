"""What a study's yaml may say."""

from __future__ import annotations

from typing import Any

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option

__all__ = ["StudyOptions", "TuneOptions"]

_Named = list[str] | dict[str, dict[str, Any] | None]


class StudyOptions(Options):
    """The keys of a study."""

    name: str = option(..., "Name of the study; its results go into studies/<name>.")
    extends: str | None = option(
        None,
        "A study that this one is but for the keys that stand here: a bundled one, or a file "
        "beside this one. A key stands for all of what it has there.",
    )
    question: str = option("", "What the study asks, in words, for its page.")
    datasets: _Named = option(
        ..., "Data sets: a list of names, or a mapping from names to the options of each."
    )
    backbones: _Named = option([], "Backbones, likewise.")
    aligners: _Named = option(
        ["none"], "Aligners, likewise; each is trained over each backbone, on each data set."
    )
    alone: _Named = option(
        [], "Models that are compared by themselves, with align=none, likewise; EASE, say."
    )
    variants: dict[str, dict[str, Any]] = option(
        {},
        "Overrides by name, `{align: A, set: {option: value}}`: beside each method that `dataset`, "
        "`model` and `align` name (one or a list; all where they are left out), one with these "
        "options. It takes the setting that its method was tuned to, or with `tuned: true` "
        "is tuned by itself.",
    )
    seeds: list[int] = option(..., "Seeds of each method.", low=0)
    more_seeds: list[dict[str, Any]] = option(
        [], "More seeds for some: entries `{align: A, seeds: [4, 5]}`, conditions as in variants."
    )
    common: dict[str, Any] = option({}, "Options of all runs.")
    metric: str = option(
        "Recall@20", "The validation metric that decides: which epoch, and which setting."
    )
    report: list[str] = option(["recall@20", "ndcg@20"], "The test metrics in the table.")
    times: bool = option(
        False, "Show in the table how many seconds an epoch of training and a run take."
    )
    base: str = option("none", "The aligner over which the gain is told.")
    ours: list[str] = option(
        [],
        "The aligners that the study is about: the best rival is one of the others; with none, "
        "each method's rivals are all others but the variants.",
    )
    tune: dict[str, Any] | None = option(
        None, "`{trials: N}`: each method is tuned with so many runs before its seeds."
    )
    keep_models: bool = option(False, "Keep the best model of each run of the table.")

    def check_together(self) -> None:
        """Refuse a study without seeds or data sets."""
        for name in ("datasets", "seeds", "report"):
            if not getattr(self, name):
                raise OptionError(f"'{name}' is empty: name one at least")


class TuneOptions(Options):
    """How the methods of a study are tuned."""

    trials: int = option(..., "Runs for each method of a backbone.", low=1)
    seed: int = option(2020, "Seed of the tuning runs, and of what is drawn.", low=0)
    space: dict[str, dict[str, Any] | list[dict[str, Any]]] = option(
        {},
        "What is tried, by backbone and by aligner, in place of the package's ranges: by option a "
        "list of values, or `{uniform: [low, high]}`, `loguniform` or `quniform` as in a RecBole "
        "params file; or a list of whole settings. An empty mapping tries nothing.",
    )

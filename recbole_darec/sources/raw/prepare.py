"""From a raw data set to RecBole's atomic files, with its texts."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from recbole_darec.data import atomic
from recbole_darec.data.sequences import leave_one_out
from recbole_darec.data.splits import parse_ratios, ratio_split
from recbole_darec.errors import DataError, OptionError, nearest, some
from recbole_darec.sources.options import SelectionOptions
from recbole_darec.sources.raw.amazon import open_amazon
from recbole_darec.sources.raw.goodreads import open_goodreads
from recbole_darec.sources.raw.in_time import InTime
from recbole_darec.sources.raw.interactions import scan
from recbole_darec.sources.raw.lines import Faults
from recbole_darec.sources.raw.mind import open_mind
from recbole_darec.sources.raw.movielens import open_movielens
from recbole_darec.sources.raw.report import PrepareReport
from recbole_darec.sources.raw.selection import Selection, select
from recbole_darec.sources.raw.source import Source
from recbole_darec.sources.raw.steam import open_steam
from recbole_darec.sources.raw.tables import name_of, write_table
from recbole_darec.sources.raw.writing import write_interactions
from recbole_darec.sources.raw.yelp import open_yelp

__all__ = ["SOURCES", "PrepareReport", "prepare"]

SOURCES: dict[str, Callable[..., Source]] = {
    "amazon": open_amazon,
    "yelp": open_yelp,
    "steam": open_steam,
    "movielens": open_movielens,
    "goodreads": open_goodreads,
    "mind": open_mind,
}
_MIN_RATING = 3.0


def prepare(
    source: str,
    raw: str | os.PathLike[str],
    dataset: str | None = None,
    out: str | os.PathLike[str] = "dataset",
    *,
    reviews: str | None = None,
    metadata: str | None = None,
    users: str | None = None,
    min_rating: float | None = None,
    k_core: int = 10,
    user_core: int | None = None,
    item_core: int | None = None,
    split: str = "3:1:1",
    latest: int = 0,
    keep_repeats: bool = False,
    ties: str = "file",
    split_seed: int = 2020,
    max_faults: float = 0.01,
    overwrite: bool = False,
) -> PrepareReport:
    """Turn a raw data set into ``out/dataset``: interactions, texts, and a split.

    Args:
        source: one of :data:`SOURCES`.
        raw: the folder with the raw files.
        dataset: the data set's name; by default the source's.
        out: the folder of data sets (RecBole's ``data_path``).
        reviews, metadata: raw files with other names (not of MovieLens and MIND).
        users: the raw file of users with another name (Yelp).
        min_rating: interactions rated lower are dropped; by default 3 where there are ratings.
        k_core: the least number of interactions of each user and of each item; 0 takes all.
        user_core, item_core: of one of the two alone.
        split: ratios of train, valid and test within each user, or ``"leave-one-out"``: one file in
            which a user's ranks are the times, of whose last two a run takes the parts.
        latest: with leave-one-out, how many of a user's interactions stay; 0 takes all.
        keep_repeats: with leave-one-out, whether a pair may come again.
        ties: with leave-one-out, ``"file"`` or ``"random"``: the order of one user's interactions
            of one time.
        split_seed: of what is random.
        max_faults: the share of lines of a file, from 0 to 1, that may be unusable.
        overwrite: replace an earlier data set of that name.

    Returns:
        The counts at each step.

    Raises:
        DataError: a file is missing, damaged or has too many faults; nothing is left; the folder
            exists or cannot be written.  Nothing is written then.
        OptionError: an option is out of its range or does not fit the source.
    """
    started = time.perf_counter()
    if source not in SOURCES:
        raise OptionError(
            f"unknown source '{source}'{nearest(source, SOURCES)}; there are {', '.join(SOURCES)}"
        )
    name = atomic.check_dataset_name(dataset or source)
    chosen = SelectionOptions(  # checks them
        min_rating=min_rating,
        k_core=k_core,
        user_core=user_core,
        item_core=item_core,
        split=split,
        latest=latest,
        keep_repeats=keep_repeats,
        ties=ties,
        split_seed=split_seed,
        max_faults=max_faults,
    )
    ratios = None if chosen.in_time else parse_ratios(split)
    given = {"reviews": reviews, "metadata": metadata, "users": users}
    opened = _open(source, Path(raw), {key: file for key, file in given.items() if file})
    if opened.rated:
        min_rating = _MIN_RATING if min_rating is None else min_rating
    elif min_rating is not None:
        raise OptionError(f"{source} has no ratings: leave --min-rating out")
    else:
        min_rating = opened.least
    in_time = None
    if chosen.in_time:
        if not opened.timed:
            raise OptionError(
                f"{opened.interactions.name} of {source} has no times to hold out by: leave "
                "--split leave-one-out out"
            )
        in_time = InTime(latest, keep_repeats, split_seed if ties == "random" else None)

    report = PrepareReport(
        dataset=name,
        folder=Path(out) / name,
        min_rating=min_rating,
        k_core=k_core,
        user_core=user_core,
        item_core=item_core,
        latest=latest,
        ties=ties,
        lacking=opened.lacking,
    )
    # Opened before the long reading, so that a folder that cannot be written is reported at once.
    with atomic.staged_folder(report.folder, overwrite) as folder:
        report.faults += [Faults(name_of(path, opened.files), max_faults) for path in opened.files]
        read = scan(opened, report.faults, min_rating)
        report.read, report.held = len(read.users), read.nbytes
        selection = select(read, *report.cores, in_time)
        report.duplicates, report.below = selection.duplicates, selection.below
        report.outside, report.rounds = selection.outside, selection.rounds
        report.users, report.items = selection.n_users, selection.n_items
        parts = _parts(selection, ratios, split_seed, report)
        _check_something_left(report)

        columns = ["user_id", "item_id", *["rating"] * opened.rated, *["timestamp"] * opened.timed]
        tokens = write_interactions(folder, opened, columns, read, selection, parts, report)
        del read, selection, parts
        for table in opened.tables:
            write_table(folder, table, tokens[table.kind], max_faults, report)
        rule = "" if min_rating is None else f"rating >= {min_rating:g}, "
        if in_time is None:
            how = f"split {split} within each user, seed {split_seed}"
        else:
            how = f"ranks as times, ties by {ties}, {f'latest {latest}, ' * bool(latest)}{split}"
        core = f"k-core {k_core}" if user_core is item_core is None else report.core
        files = some([path.name for path in opened.files])
        note = f"made by 'recbole-darec prepare {source}' from {files}: {rule}{core}, {how}"
        in_order = in_time is not None
        atomic.write_dataset_yaml(folder, name, columns, not in_order, note, leave_one_out=in_order)
        report.files = sorted(path.name for path in folder.iterdir())
    report.seconds = time.perf_counter() - started
    return report


def _open(source: str, raw: Path, files: dict[str, str]) -> Source:
    opener = SOURCES[source]
    for key in files:
        if key not in inspect.signature(opener).parameters:
            raise OptionError(f"{source} takes no --{key}")
    return opener(raw, **files)


def _parts(
    selection: Selection,
    ratios: Sequence[float] | None,
    seed: int,
    report: PrepareReport,
) -> np.ndarray | None:
    """Count the parts; return each interaction's where they are files, None where by time."""
    users = selection.users
    if ratios is not None:
        parts = ratio_split(users, len(users), ratios, seed)
        sizes = np.bincount(parts, minlength=len(atomic.SPLITS)).tolist()
    else:
        assert selection.ranks is not None
        report.older, report.tied = selection.older, selection.tied
        report.repeats = selection.repeats
        ordered = users[np.lexsort((selection.ranks, users))]
        labels, report.short = leave_one_out(ordered)
        parts, sizes = None, np.bincount(labels, minlength=3).tolist()
    report.interactions = dict(zip(atomic.SPLITS, sizes))
    return parts


def _check_something_left(report: PrepareReport) -> None:
    if all(report.interactions.values()):
        return
    of_files = report.faults
    steps = [f"{sum(f.lines for f in of_files):,} lines"]
    steps.append(f"{sum(f.total for f in of_files):,} of them unusable")
    found = [(kind, fault) for f in of_files for kind, fault in f.found.items()]
    if found:
        kind, (_, first) = max(found, key=lambda pair: pair[1].times)
        steps[-1] += f" ({kind}, first at {first})"
    steps += [f"{report.duplicates:,} repeated", f"{report.below:,} below the rating"]
    steps.append(f"{report.outside:,} outside the {report.core}")
    parts = ", ".join(f"{part} {count:,}" for part, count in report.interactions.items())
    raise DataError(
        f"too little is left for a split ({parts}): {'; '.join(steps)}; "
        "lower --k-core or --min-rating, or take more data"
    )

"""The comparison that a study's table shows: means, deviations, gains, corrected tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from recbole_darec.errors import DataError
from recbole_darec.settings.effects import more_is_better
from recbole_darec.studies.frame import Results
from recbole_darec.studies.reported import Reported, reported_for
from recbole_darec.studies.statistics import Paired, holm, over_seeds, over_users
from recbole_darec.studies.study import ALONE

__all__ = ["Against", "Cell", "Comparison", "Line", "compared"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Against:
    """A method against another one.

    Attributes:
        other: the other's name.
        gain: relative gain of the mean on the seeds that both have, 0.05 for five percent.
        tests: the paired tests.
        t_corrected, wilcoxon_corrected: their p-values, Holm-corrected within the table.
    """

    other: str
    gain: float
    tests: Paired
    t_corrected: float = math.nan
    wilcoxon_corrected: float = math.nan

    @property
    def significant(self) -> bool:
        """Whether the corrected t-test has p below 0.05."""
        return self.t_corrected < _SIGNIFICANT

    def better(self, metric: str) -> bool:
        """Tell whether it is the better one by a metric, beyond chance."""
        return self.significant and (self.gain > 0) == more_is_better(metric)


@dataclass(frozen=True)
class Cell:
    """One metric of one method.

    Attributes:
        mean, deviation: over seeds, the sample's; NaN for fewer than two.
        base, rival: against the base, and against the best rival; None where there is none.
        reported: what the papers report for the same cell.
    """

    metric: str
    mean: float
    deviation: float
    base: Against | None = None
    rival: Against | None = None
    reported: Reported | None = None


@dataclass(frozen=True)
class Line:
    """One method on one data set.

    Attributes:
        setting: what tuning chose.
        chosen: means over the seeds of what the runs found by themselves.
        n_seeds: seeds that are done.
        n_wanted: seeds that the study wants.
        seconds: of a run, mean over the seeds.
        epoch_seconds: of an epoch's training, mean over epochs and seeds; NaN without epochs.
    """

    dataset: str
    backbone: str
    method: str
    align: str
    variant: str
    setting: str
    chosen: Mapping[str, float]
    n_seeds: int
    n_wanted: int
    seconds: float
    epoch_seconds: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Comparison:
    """A study's table.

    Attributes:
        lines: by data set and backbone, in the study's order; methods without a finished run are
            left out.
        unit: what the tests pair: ``seeds`` or ``users``.
        metrics: the test metrics.
        times: whether the seconds are shown.
        n_done, n_runs: of the table's runs, by key.
        failed: run in words and reason.
    """

    name: str
    question: str
    base: str
    lines: tuple[Line, ...]
    unit: str
    metrics: tuple[str, ...]
    times: bool
    n_done: int
    n_runs: int
    failed: tuple[tuple[str, str], ...]


def compared(results: Results, metrics: list[str], *, per_user: bool = False) -> Comparison:
    """Compare what a study has so far.

    Args:
        results: of the study.
        metrics: test metrics, one or more.
        per_user: whether the tests pair users, not seeds.

    Raises:
        DataError: nothing is done yet, or a metric was not computed.
        MissingExtraError: statsmodels is not installed.
    """
    done = results.measured(metrics)
    lines: list[Line] = []
    for _, group in done.groupby(["dataset", "backbone"], sort=False):
        lines += _lines(results, group, metrics, per_user=per_user)
    # The plan goes seed after seed, and so do the rows: the study's order is that of its methods.
    order = {(m.dataset, m.backbone, m.name): n for n, m in enumerate(results.study.methods())}
    lines.sort(key=lambda line: order[line.dataset, line.backbone, line.method])
    table = results.frame[~results.frame["tuning"]]
    failed = table[table["state"] == "failed"]
    return Comparison(
        name=results.study.name,
        question=results.study.options.question,
        base=results.study.options.base,
        lines=tuple(_corrected(lines)),
        unit="users" if per_user else "seeds",
        metrics=tuple(metrics),
        times=results.study.options.times,
        n_done=len(done),
        n_runs=len(table) + results.plan.n_waiting,
        failed=tuple(
            (f"{r.dataset} {r.backbone} {r.method}, seed {r.seed}", str(r.reason))
            for r in failed.itertuples()
        ),
    )


def _lines(
    results: Results, group: pd.DataFrame, metrics: list[str], *, per_user: bool
) -> list[Line]:
    """Return the lines of one data set and backbone."""
    by_method = {str(name): rows for name, rows in group.groupby("method", sort=False)}
    study, place = results.study, tuple(group.iloc[0][["dataset", "backbone"]])
    methods = {m.name: m for m in study.methods() if (m.dataset, m.backbone) == place}
    lines = []
    for name, rows in by_method.items():
        first = rows.iloc[0]
        cells = []
        for metric in metrics:
            cell = Cell(metric, *_mean(rows[f"test:{metric}"]))
            base = None if first["backbone"] == ALONE else study.options.base
            if base in by_method and name != base:
                against = _against(results, rows, by_method[base], base, metric, per_user)
                cell = replace(cell, base=against)
            rival = _best_rival(results, by_method, name, metric)
            if rival is not None:
                against = _against(results, rows, by_method[rival], rival, metric, per_user)
                cell = replace(cell, rival=against)
            if not first["variant"]:
                found = reported_for(first["dataset"], first["model"], first["align"], metric)
                cell = replace(cell, reported=found)
            cells.append(cell)
        chosen = pd.DataFrame.from_records(list(rows["chosen"])).mean()
        lines.append(
            Line(
                dataset=first["dataset"],
                backbone=first["backbone"],
                method=name,
                align=first["align"],
                variant=first["variant"],
                setting=first["setting"],
                chosen={str(k): float(v) for k, v in chosen.items()},
                n_seeds=len(rows),
                n_wanted=len(study.seeds(methods[name])),
                seconds=float(rows["seconds"].mean()),
                epoch_seconds=_epoch_seconds(results, rows),
                cells=tuple(cells),
            )
        )
    return lines


def _best_rival(
    results: Results, by_method: Mapping[str, pd.DataFrame], name: str, metric: str
) -> str | None:
    """Return the best of the other methods that are no variant, nor of the study's own."""
    ours = results.study.options.ours
    rivals = {
        other: float(rows[f"test:{metric}"].mean())
        for other, rows in by_method.items()
        if other != name and not rows.iloc[0]["variant"] and rows.iloc[0]["align"] not in ours
    }
    best = max if more_is_better(metric) else min
    return best(rivals, key=lambda other: rivals[other]) if rivals else None


def _epoch_seconds(results: Results, rows: pd.DataFrame) -> float:
    curves = (results.store.curve(results.rows[key]) for key in rows["key"])
    seconds = [epoch["seconds"] for curve in curves for epoch in curve if "seconds" in epoch]
    return sum(seconds) / len(seconds) if seconds else math.nan


def _mean(values: pd.Series[float]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _against(
    results: Results,
    rows: pd.DataFrame,
    others: pd.DataFrame,
    other: str,
    metric: str,
    per_user: bool,
) -> Against:
    column = f"test:{metric}"
    ours, theirs = (dict(zip(one["seed"], one[column])) for one in (rows, others))
    common = sorted(set(ours) & set(theirs))
    if not common:
        return Against(other, math.nan, Paired(0, math.nan, math.nan))
    mean = sum(theirs[s] for s in common)
    gain = sum(ours[s] for s in common) / mean - 1.0 if mean else math.nan
    if not per_user:
        return Against(other, gain, over_seeds(ours, theirs))
    of_users = [_users(results, one, common) for one in (rows, others)]
    if not all(metric in table for tables in of_users for table in tables.values()):
        raise DataError(f"'{metric}' has no values by user; take a ranking metric such as ndcg@20")
    return Against(other, gain, over_users(of_users[0], of_users[1], metric))


def _users(results: Results, rows: pd.DataFrame, seeds: list[int]) -> dict[int, dict[str, Any]]:
    found = {}
    for seed, key in zip(rows["seed"], rows["key"]):
        if seed in seeds:
            users = results.store.users(results.rows[key])
            if users is not None:
                found[int(seed)] = users
    return found


def _corrected(lines: list[Line]) -> list[Line]:
    """Correct all tests of the table together, those of either kind by themselves."""
    places = [
        (n, c, name)
        for n, line in enumerate(lines)
        for c, cell in enumerate(line.cells)
        for name in ("base", "rival")
        if getattr(cell, name) is not None
    ]
    found = [getattr(lines[n].cells[c], name) for n, c, name in places]
    t_values = holm([against.tests.t_test for against in found])
    wilcoxon = holm([against.tests.wilcoxon for against in found])
    for (n, c, name), against, t, w in zip(places, found, t_values, wilcoxon):
        line = lines[n]
        cells = list(line.cells)
        corrected = replace(against, t_corrected=t, wilcoxon_corrected=w)
        cells[c] = replace(cells[c], **{name: corrected})
        lines[n] = replace(line, cells=tuple(cells))
    return lines

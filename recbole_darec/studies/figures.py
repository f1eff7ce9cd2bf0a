"""Figures of a study, each from what is there: bars, lines, curves, gains by frequency."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_darec.data.files import replacing
from recbole_darec.errors import MissingExtraError
from recbole_darec.studies.drawing import N_STYLES, new_figure, save, styles
from recbole_darec.studies.frame import Results
from recbole_darec.studies.frequency import GROUPS
from recbole_darec.studies.shared_rows import shared_rows_figure

__all__ = ["figures_of", "write_figures"]

_FEWEST_POINTS = 3  # of a line over an option's values
_FORMS = ("png", "svg")


def write_figures(results: Results, metric: str, folder: Path) -> list[Path]:
    """Draw every figure that the results have something for, as PNG and SVG.

    Args:
        results: of a study.
        metric: the test metric.
        folder: is made where it is not there.

    Returns:
        The files.

    Raises:
        DataError: nothing is done yet, or the metric was not computed.
        MissingExtraError: matplotlib is not installed.
    """
    written = []
    for name, figure in figures_of(results, metric):
        folder.mkdir(parents=True, exist_ok=True)
        for form in _FORMS:
            path = folder / f"{name}.{form}"
            with replacing(path) as file:
                save(figure, file, form)
            written.append(path)
    return written


def figures_of(results: Results, metric: str) -> Iterator[tuple[str, Any]]:
    """Yield the figures by name, matplotlib's ``Figure``.

    Raises:
        DataError: nothing is done yet, or the metric was not computed.
        MissingExtraError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report")
    done, column = results.measured([metric]), f"test:{metric}"
    for (dataset, backbone), group in done.groupby(["dataset", "backbone"], sort=False):
        end = f"{dataset}_{backbone}"
        title = f"{dataset}, {backbone}"
        yield f"bars_{end}", _bars(group, column, metric, title)
        for option, lines in _varied(results, group).items():
            yield f"lines_{option}_{end}", _lines(lines, option, column, metric, title)
        curves = _curves(results, _told_apart(group), title)
        if curves is not None:
            yield f"curves_{end}", curves
        gains = _gains(_told_apart(group), results.study.options.base, metric, title)
        if gains is not None:
            yield f"frequency_{end}", gains
        yield from _shared(group, end, title)


def _methods(group: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(group["method"]))


def _told_apart(group: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without those of variants, where there are more methods than styles."""
    return group[group["variant"] == ""] if len(_methods(group)) > N_STYLES else group


def _mean_and_deviation(values: pd.Series) -> tuple[float, float]:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()), deviation


def _bars(group: pd.DataFrame, column: str, metric: str, title: str) -> Any:
    """A bar for each method, with the deviation over seeds."""
    names = _methods(group)
    style = styles(names)
    figure, (axes,) = new_figure(height=1.2 + 0.42 * len(names))
    found = [_mean_and_deviation(group.loc[group["method"] == name, column]) for name in names]
    for n, (name, (mean, deviation)) in enumerate(zip(names, found)):
        axes.barh(
            n, mean, xerr=deviation, color=style[name]["color"], hatch=style[name]["hatch"],
            edgecolor="white", height=0.7, error_kw={"elinewidth": 1.2, "capsize": 3},
        )  # fmt: skip
        axes.annotate(
            f"{mean:.4f}", (mean + deviation, n), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    low = min(mean - deviation for mean, deviation in found)
    high = max(mean + deviation for mean, deviation in found)
    # Differences of a few percent are to be seen; the axis says where it begins.
    start = max(0.0, low - 1.0 * (high - low)) if high > low else 0.0
    axes.set_xlim(start, high + 0.22 * (high - start))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{metric} (mean, deviation over seeds{'' if not start else '; cut axis'})")
    axes.set_title(title)
    return figure


def _varied(results: Results, group: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Return by option that variants set to several numbers, by aligner, its runs with the value.

    The method without a variant counts with the value that it has.
    """
    variants = results.study.options.variants
    by_option: dict[str, list[str]] = {}
    for name, entry in variants.items():
        given = entry.get("set") or {}
        if len(given) == 1:
            ((option, value),) = given.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                by_option.setdefault(str(option), [""]).append(name)
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for option, names in by_option.items():
        for align, rows in group[group["variant"].isin(names)].groupby("align", sort=False):
            values = [options.get(option) for options in rows["options"]]
            rows = rows.assign(value=pd.to_numeric(pd.Series(values, index=rows.index)))
            rows = rows.dropna(subset=["value"])
            if rows["value"].nunique() >= _FEWEST_POINTS:
                found.setdefault(option, {})[str(align)] = rows
    return found


def _lines(
    lines: Mapping[str, pd.DataFrame], option: str, column: str, metric: str, title: str
) -> Any:
    """A line for each aligner over an option's values, with a band of the deviation over seeds."""
    style = styles(list(lines))
    figure, (axes,) = new_figure()
    everything: list[float] = []
    for name, rows in lines.items():
        points = rows.groupby("value")[column]
        mean, deviation = points.mean(), points.std(ddof=1).fillna(0.0)
        drawn = style[name]
        axes.plot(
            mean.index, mean, color=drawn["color"], marker=drawn["marker"], linestyle=drawn["line"],
            label=name,
        )  # fmt: skip
        axes.fill_between(
            mean.index, mean - deviation, mean + deviation, color=drawn["color"], alpha=0.2,
            linewidth=0,
        )  # fmt: skip
        everything += list(mean.index)
    positive = [value for value in everything if value > 0]
    if len(positive) == len(everything) and max(positive) / min(positive) > 50:
        axes.set_xscale("log")
    axes.set_xlabel(option)
    axes.set_ylabel(metric)
    axes.set_title(title)
    if len(lines) > 1:
        axes.legend(frameon=False)
    return figure


def _curves(results: Results, group: pd.DataFrame, title: str) -> Any:
    """A panel for each named loss, and one for the validation: a line for each method."""
    parts: dict[str, dict[str, pd.Series]] = {}
    for name in _methods(group):
        row = results.rows[group.loc[group["method"] == name, "key"].iloc[0]]
        for epoch in results.store.curve(row):
            seen = {**(epoch.get("losses") or {})}
            if epoch.get("valid") is not None:
                seen[results.study.options.metric.lower()] = epoch["valid"]
            for part, value in seen.items():
                line = parts.setdefault(part, {}).setdefault(name, pd.Series(dtype=float))
                line.loc[epoch["epoch"]] = value
    if not parts:
        return None
    decides = results.study.options.metric.lower()
    if decides in parts:
        parts[decides] = parts.pop(decides)  # behind the losses
    style = styles(_methods(group))
    figure, panels = new_figure(len(parts))
    drawn: dict[str, Any] = {}
    for axes, (part, lines) in zip(panels, parts.items()):
        for name, line in lines.items():
            (drawn[name],) = axes.plot(
                line.index, line, color=style[name]["color"], linestyle=style[name]["line"],
                linewidth=1.5,
            )  # fmt: skip
        axes.set_title(f"{'validation' if part == decides else 'loss'} {part}", fontsize=10)
        axes.set_xlabel("epoch")
    first = group["seed"].iloc[0]
    figure.suptitle(f"{title}, seed {first}", fontsize=11)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower center", ncols=min(4, len(drawn)),
        frameon=False,
    )  # fmt: skip
    return figure


def _gains(group: pd.DataFrame, base: str, metric: str, title: str) -> Any:
    """Gains over the base by how often users and items were in training."""
    means = {
        name: _by_frequency(group[group["method"] == name], metric) for name in _methods(group)
    }
    if base not in means or not means[base]["users"] or len(means) < 2:
        return None
    others = [name for name in means if name != base]
    style = styles(_methods(group))
    figure, panels = new_figure(2)
    drawn: dict[str, Any] = {}
    for axes, side in zip(panels, ("users", "items")):
        known = means[base][side]
        groups = [name for name in GROUPS if known.get(name)]
        width = 0.8 / len(others)
        for n, name in enumerate(others):
            gains = [100 * (means[name][side].get(g, math.nan) / known[g] - 1) for g in groups]
            drawn[name] = axes.bar(
                [x - 0.4 + (n + 0.5) * width for x in range(len(groups))], gains, width,
                color=style[name]["color"], hatch=style[name]["hatch"], edgecolor="white",
            )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_title(f"thirds of the {side}", fontsize=10)
        axes.set_ylabel(f"gain over {base}, %")
    figure.suptitle(f"{title}: {metric} by training frequency", fontsize=11)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower center", ncols=min(4, len(drawn)),
        frameon=False,
    )  # fmt: skip
    return figure


def _by_frequency(rows: pd.DataFrame, metric: str) -> dict[str, dict[str, float]]:
    """Return the mean over seeds of each group's metric: of items, their recall."""
    found: dict[str, dict[str, float]] = {"users": {}, "items": {}}
    for side, by_group in found.items():
        for name in GROUPS:
            values = []
            for groups in rows["groups"]:
                of = (groups or {}).get(side, {}).get(name, {})
                keys = [metric] if side == "users" else [k for k in of if k.startswith("recall@")]
                values += [of[key] for key in keys if of.get(key) is not None]
            if values:
                by_group[name] = sum(values) / len(values)
    return found


def _shared(group: pd.DataFrame, end: str, title: str) -> Iterator[tuple[str, Any]]:
    """Shared rows of both sides, of a method whose model is kept and has them."""
    for name in _methods(group):
        row = group[group["method"] == name].iloc[0]
        path = row["model_file"]
        if not isinstance(path, str) or not Path(path).is_file():
            continue
        with contextlib.suppress(KeyError):
            yield (
                f"shared_{name.replace(' ', '_').replace('+', '_')}_{end}",
                shared_rows_figure(Path(path), f"{title}, {name}"),
            )

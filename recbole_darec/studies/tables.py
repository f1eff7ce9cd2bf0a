"""A comparison as text: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable

from recbole_darec.studies.comparison import Against, Cell, Comparison, Line
from recbole_darec.studies.reported import PROTOCOL

__all__ = ["FORMS", "as_csv", "as_latex", "as_markdown", "sources_of"]

_DIGITS = 4


def as_markdown(table: Comparison) -> str:
    """Return a table for each data set, and footnotes."""
    parts = [f"{table.name}: {table.question}".rstrip(": ")]
    for dataset in dict.fromkeys(line.dataset for line in table.lines):
        lines = [line for line in table.lines if line.dataset == dataset]
        rows = [_cells(table, line, lines) for line in lines]
        parts.append(f"**{dataset}**\n\n{_markdown_rows(_header(table, lines), rows)}")
    summary = _summary(table)
    if summary:
        parts.append(f"**Mean over data sets and backbones**\n\n{summary}")
    return "\n\n".join([*parts, "\n".join(_notes(table))]) + "\n"


def as_latex(table: Comparison) -> str:
    """Return one table of the package booktabs for each data set."""
    parts = []
    for dataset in dict.fromkeys(line.dataset for line in table.lines):
        lines = [line for line in table.lines if line.dataset == dataset]
        header = _header(table, lines)
        rows = [_cells(table, line, lines) for line in lines]
        body = []
        for n, row in enumerate(rows):
            if n and lines[n].backbone != lines[n - 1].backbone:
                body.append(r"\midrule")
            body.append(" & ".join(_tex(cell) for cell in row) + r" \\")
        columns = "ll" + "l" * (len(header) - 2 - _n_numbers(header)) + "r" * _n_numbers(header)
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{_tex(f'{table.name}, {dataset}')}. "
                    rf"{_tex(' '.join(_notes(table)))}}}",
                    rf"\begin{{tabular}}{{{columns}}}",
                    r"\toprule",
                    " & ".join(_tex(cell) for cell in header) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def as_csv(table: Comparison) -> str:
    """Return one line for each method and metric, with every number unrounded."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    tests = ("gain", "n", "p_t", "p_wilcoxon", "p_t_holm", "p_wilcoxon_holm")
    writer.writerow(
        ["study", "dataset", "backbone", "method", "setting", "chosen", "seeds", "seconds",
         "epoch_seconds", "metric", "mean", "deviation",
         *(f"{side}_{name}" for side in ("base", "rival") for name in ("method", *tests)),
         "reported", "reported_in", "unit"]
    )  # fmt: skip
    for line in table.lines:
        chosen = "; ".join(f"{name}={value:.4g}" for name, value in line.chosen.items())
        for cell in line.cells:
            reported = cell.reported
            writer.writerow(
                [table.name, line.dataset, line.backbone, line.method, line.setting, chosen,
                 line.n_seeds, f"{line.seconds:.1f}",
                 _number(line.epoch_seconds), cell.metric, repr(cell.mean),
                 _number(cell.deviation), *_tests(cell.base), *_tests(cell.rival),
                 "" if reported is None else reported.value,
                 "" if reported is None else f"{reported.paper} {reported.table}", table.unit]
            )  # fmt: skip
    return buffer.getvalue()


FORMS: dict[str, Callable[[Comparison], str]] = {
    "markdown": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
}


def _summary(table: Comparison) -> str:
    """Return the mean gains of each method that has a base everywhere, where there are several."""
    places = {(line.dataset, line.backbone) for line in table.lines if line.cells[0].base}
    if len(places) < 2:
        return ""
    header = ["method"]
    for metric in table.metrics:
        header += [f"{metric} over {table.base}", "† in"]
    rows = []
    for method in dict.fromkeys(line.method for line in table.lines):
        lines = [line for line in table.lines if line.method == method]
        if {(line.dataset, line.backbone) for line in lines if line.cells[0].base} != places:
            continue
        cells = [method]
        for n, metric in enumerate(table.metrics):
            found = [line.cells[n].base for line in lines]
            gains = [against.gain for against in found if against is not None]
            better = sum(a is not None and a.better(metric) for a in found)
            cells += [f"{100 * sum(gains) / len(gains):+.1f} %", f"{better} of {len(places)}"]
        rows.append(cells)
    return _markdown_rows(header, rows)


def _header(table: Comparison, lines: list[Line]) -> list[str]:
    header = ["backbone", "method"]
    if any(line.setting for line in lines):
        header.append("setting")
    for metric in table.metrics:
        header.append(metric)
        titles = {"base": f"over {table.base}", "rival": "over the best rival"}
        header += [title for side, title in titles.items() if _has(lines, metric, side)]
        if _has(lines, metric, "reported"):
            header.append("reported")
    if table.times:
        header += ["s an epoch", "s in total"]
    return header


def _n_numbers(header: list[str]) -> int:
    return len(header) - (3 if "setting" in header else 2)


def _cells(table: Comparison, line: Line, lines: list[Line]) -> list[str]:
    cells = [line.backbone, line.method]
    if line.n_seeds < line.n_wanted:
        cells[1] += f" ({line.n_seeds} of {line.n_wanted} seeds)"
    if any(one.setting for one in lines):
        cells.append(line.setting)
    for metric, cell in zip(table.metrics, line.cells):
        cells.append(_value(cell))
        for side, against in (("base", cell.base), ("rival", cell.rival)):
            if _has(lines, metric, side):
                cells.append(_gain(against))
        if _has(lines, metric, "reported"):
            cells.append("" if cell.reported is None else f"{cell.reported.value:.{_DIGITS}f}")
    if table.times:
        epoch = "" if math.isnan(line.epoch_seconds) else f"{line.epoch_seconds:.2f}"
        cells += [epoch, f"{line.seconds:.0f}"]
    return cells


def _has(lines: list[Line], metric: str, name: str) -> bool:
    """Tell whether there is a base, a rival or a reported number in a column of the table."""
    cells = (cell for line in lines for cell in line.cells if cell.metric == metric)
    return any(getattr(cell, name) is not None for cell in cells)


def _value(cell: Cell) -> str:
    if math.isnan(cell.deviation):
        return f"{cell.mean:.{_DIGITS}f}"
    return f"{cell.mean:.{_DIGITS}f} ± {cell.deviation:.{_DIGITS}f}"


def _gain(against: Against | None) -> str:
    if against is None or math.isnan(against.gain):
        return ""
    return f"{100 * against.gain:+.1f} %{'†' if against.significant else ''}"


def _tests(against: Against | None) -> list[object]:
    if against is None:
        return [""] * 7
    tests = against.tests
    p_values = (tests.t_test, tests.wilcoxon, against.t_corrected, against.wilcoxon_corrected)
    return [against.other, _number(against.gain), tests.n, *map(_number, p_values)]


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _notes(table: Comparison) -> list[str]:
    notes = [f"Mean {'± standard deviation ' if _has_deviation(table) else ''}over seeds."]
    cells = [cell for line in table.lines for cell in line.cells]
    if any(cell.base or cell.rival for cell in cells):
        notes[0] = (
            f"{notes[0][:-1]}; gain over {table.base} and over the best other method that is no "
            "variant."
        )
    if any(_tested(line) for line in table.lines):
        notes.append(
            f"† p < 0.05 in a paired t-test over {table.unit}, Holm-corrected within the table; "
            "the Wilcoxon test is in the CSV."
        )
    if table.n_done < table.n_runs:
        notes.append(f"{table.n_done} of {table.n_runs} runs are done.")
    notes += sources_of(table)
    notes += [f"Failed: {run}: {reason}" for run, reason in table.failed]
    return notes


def sources_of(table: Comparison) -> list[str]:
    """Return where the reported numbers of a table are from, and how they were measured."""
    papers = {c.reported.paper for line in table.lines for c in line.cells if c.reported}
    return [f"Reported by {PROTOCOL[paper]}." for paper in sorted(papers)]


def _has_deviation(table: Comparison) -> bool:
    return any(not math.isnan(c.deviation) for line in table.lines for c in line.cells)


def _tested(line: Line) -> bool:
    return any(
        against is not None and not math.isnan(against.tests.t_test)
        for cell in line.cells
        for against in (cell.base, cell.rival)
    )


def _markdown_rows(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_TEX = str.maketrans(
    {character: f"\\{character}" for character in "%_&#{}$"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "†": r"$^\dagger$", "<": "$<$", ">": "$>$", "λ": r"$\lambda$"}
)


def _tex(text: str) -> str:
    return text.replace("N̂", "\0").translate(_TEX).replace("\0", r"$\hat{N}$")

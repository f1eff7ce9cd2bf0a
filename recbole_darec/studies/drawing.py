"""How every figure looks.

The colours are Okabe and Ito's, which colour-blind readers tell apart; in grey it is the hatching,
the marker and the form of the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["N_STYLES", "new_figure", "save", "styles"]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#555555", "#F0E442")
_HATCHES = ("", "///", "|||", "\\\\\\", "xxx", "---", "+++", "///---")  # dots make an SVG large
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DPI = 110
_LINES = ("-", "--", "-.", ":")

N_STYLES = len(_COLOURS)
"""How many things can be told apart by their colour, or in grey by their form."""


def new_figure(columns: int = 1, *, width: float = 6.4, height: float = 3.8) -> tuple[Any, Any]:
    """Return a figure that no window has, and its axes in a list."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    rows = math.ceil(columns / 3)
    if columns > 1:
        figure.set_size_inches(min(columns, 3) * 3.6, rows * 3.0 + 0.6)
    grid = figure.subplots(rows, min(columns, 3), squeeze=False)
    axes = list(grid.flat)
    for unused in axes[columns:]:
        unused.remove()
    for one in axes[:columns]:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="#dddddd", linewidth=0.8)
        one.set_axisbelow(True)
    return figure, axes[:columns]


def styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour, hatching, marker and line by name, the same for the same place."""
    found = {}
    for n, name in enumerate(names):
        turn = n + n // N_STYLES  # the same colour again has another form
        found[name] = {
            "color": _COLOURS[n % N_STYLES],
            "hatch": _HATCHES[turn % len(_HATCHES)],
            "marker": _MARKERS[turn % len(_MARKERS)],
            "line": _LINES[turn % len(_LINES)],
        }
    return found


def save(figure: Any, file: Any, form: str) -> None:
    """Write a figure; the same figure is the same file.

    Args:
        figure: matplotlib's.
        file: open for writing bytes.
        form: ``png`` or ``svg``.
    """
    import matplotlib

    metadata = {"Date": None} if form == "svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "recbole_darec"}):
        figure.savefig(file, format=form, dpi=_DPI, bbox_inches="tight", metadata=metadata)

"""How every figure looks.

The colours are Okabe and Ito's, which colour-blind readers tell apart; in grey it is the hatching,
the marker and the form of the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["N_STYLES", "new_figure", "styles"]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#555555", "#F0E442")
_HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":")

N_STYLES = len(_COLOURS)
"""How many things can be told apart."""


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
        found[name] = {
            "color": _COLOURS[n % len(_COLOURS)],
            "hatch": _HATCHES[n % len(_HATCHES)],
            "marker": _MARKERS[n % len(_MARKERS)],
            "line": _LINES[n % len(_LINES)],
        }
    return found

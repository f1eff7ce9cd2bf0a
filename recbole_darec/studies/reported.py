"""What the papers report for the same cells, with what their protocol has otherwise."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from recbole_darec.resources import properties_dir

__all__ = ["PROTOCOL", "Reported", "reported_for"]

PROTOCOL = {
    "DaRec": "DaRec, tables III and IV: 3:1:1 split, k-core data, embeddings of width 32, profiles "
    "of GPT-3.5 embedded by text-embedding-ada-002, training items alone left out of the ranking",
}
"""The protocol of each paper, for a footnote."""


@dataclass(frozen=True)
class Reported:
    """A number of a paper."""

    paper: str
    table: str
    value: float


@cache
def _numbers() -> dict[tuple[str, str, str, str], Reported]:
    path = properties_dir() / "reported" / "results.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["dataset"], row["backbone"], row["align"], row["metric"]): Reported(
                row["paper"], row["table"], float(row["value"])
            )
            for row in csv.DictReader(file)
        }


def reported_for(dataset: str, backbone: str, align: str, metric: str) -> Reported | None:
    """Return what a paper reports for a cell, or None."""
    return _numbers().get((dataset, backbone, align, metric))

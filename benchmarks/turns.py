"""Contestants that take turns, so that a change of the machine's load meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["median_seconds", "print_table"]


def median_seconds(
    contestants: Mapping[str, Callable[[], None]],
    turns: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Return each contestant's median over its turns, after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name, one in contestants.items():
            start = clock()
            one()
            if turn:
                times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def print_table(what: str, seconds: Mapping[str, float]) -> None:
    """Print the seconds, and their ratios to the first."""
    reference = next(iter(seconds.values()))
    print(f"| {what} | seconds | to the first |\n| --- | --- | --- |")
    for name, value in seconds.items():
        print(f"| {name} | {value:.3f} | {value / reference:.3f} |")

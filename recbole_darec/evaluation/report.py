"""Results as text that a person reads."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["buckets_table", "metrics_table"]

_ABOUT = ("items", "least", "most", "targets", "users")


def metrics_table(results: Mapping[str, Mapping[str, float] | None], digits: int = 4) -> str:
    """Return a table with one metric a line and one column per part of the data.

    Args:
        results: metrics by name, by part (``valid``, ``test``); a part without result is left out.
        digits: decimals shown; the metrics themselves are not rounded.
    """
    parts = {part: metrics for part, metrics in results.items() if metrics}
    names = list(dict.fromkeys(name for metrics in parts.values() for name in metrics))
    width = max([len(name) for name in names] + [6])
    column = max([digits + 4] + [len(part) for part in parts])
    lines = ["  ".join(["metric".ljust(width), *(part.rjust(column) for part in parts)])]
    lines.append("  ".join(["-" * width, *("-" * column for _ in parts)]))
    for name in names:
        cells = [f"{m[name]:{column}.{digits}f}" if name in m else " " * column
                 for m in parts.values()]  # fmt: skip
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines)


def buckets_table(results: Mapping[str, Mapping[str, float]], digits: int = 4) -> str:
    """Return test metrics by training frequency, under a line that says what each bucket is.

    Args:
        results: what ``metrics_by_frequency`` returned.
        digits: decimals shown.
    """
    lines = []
    for name, found in results.items():
        items, least, most, targets, users = (int(found[key]) for key in _ABOUT)
        lines.append(
            f"{name}: {items:,} items that stand {least:,} to {most:,} times in training; "
            f"{targets:,} to be found, for {users:,} users"
        )
    metrics = {
        name: {key: value for key, value in found.items() if key not in _ABOUT}
        for name, found in results.items()
    }
    return "\n".join([*lines, "", metrics_table(metrics, digits)])

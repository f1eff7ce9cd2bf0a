"""The shared rows of both sides in the plane, by preference center (DaRec, figure 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.aligned.vectors import final_tables, split_representations
from recbole_darec.loaded import load_run
from recbole_darec.studies.drawing import new_figure, styles

__all__ = ["embedded", "shared_rows_figure"]

_MOST_ROWS = 600  # of each kind; t-SNE takes long, and more points hide each other


def shared_rows_figure(model_file: Path, title: str) -> Any:
    """Draw the shared rows of the collaborative and of the language side.

    A row's colour and marker are its preference center's: that of its collaborative row, so that
    the picture shows whether the language rows of a center lie together, too.

    Args:
        model_file: a checkpoint.
        title: of the figure.

    Raises:
        KeyError: its aligner has no shared rows.
    """
    run = load_run(model_file, {}, None)
    tables = final_tables(run.model, run.config)
    parts = {} if tables is None else split_representations(run.model, tables)
    rng = np.random.default_rng(0)
    sides: dict[str, list[np.ndarray]] = {"shared_c": [], "shared_l": []}
    for kind in parts["shared_c"]:
        size = len(parts["shared_c"][kind]) - 1
        chosen = 1 + np.sort(rng.choice(size, size=min(size, _MOST_ROWS), replace=False))
        for side, rows in sides.items():
            rows.append(parts[side][kind].detach().cpu().float().numpy()[chosen])
    rows_c, rows_l = (_unit(np.concatenate(rows)) for rows in sides.values())
    centers = _centers(rows_c, int(run.model.aligner.options.n_centers))
    plane = embedded(np.concatenate([rows_c, rows_l]))
    names = [f"center {n + 1}" for n in range(centers.max() + 1)]
    style = styles(names)
    figure, panels = new_figure(2)
    drawn: dict[str, Any] = {}
    halves = ("collaborative side", plane[: len(rows_c)]), ("language side", plane[len(rows_c) :])
    for axes, (side, points) in zip(panels, halves):
        for n, name in enumerate(names):
            mine = points[centers == n]
            drawn[name] = axes.scatter(
                mine[:, 0], mine[:, 1], s=9, color=style[name]["color"],
                marker=style[name]["marker"], linewidths=0, alpha=0.85,
            )  # fmt: skip
        axes.set_xlim(plane[:, 0].min() - 3, plane[:, 0].max() + 3)
        axes.set_ylim(plane[:, 1].min() - 3, plane[:, 1].max() + 3)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"shared rows, {side}", fontsize=10)
    figure.suptitle(title, fontsize=11)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower center", ncols=min(5, len(drawn)),
        frameon=False, markerscale=2.5,
    )  # fmt: skip
    return figure


def embedded(rows: np.ndarray) -> np.ndarray:
    """Return rows in the plane by t-SNE, float ``[n, 2]``; the same ones for the same rows."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)
    plane: np.ndarray = TSNE(
        n_components=2, perplexity=perplexity, init="pca", random_state=0
    ).fit_transform(rows)
    return plane


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    return unit


def _centers(rows: np.ndarray, n_centers: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    found = KMeans(min(n_centers, len(rows)), n_init=4, random_state=0).fit_predict(rows)
    return np.asarray(found)

"""Tables of any data set, written with a fixed split, and the texts that are made of them."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_darec.environment import recbole_dir
from recbole_darec.profiles.domains import read_domain
from recbole_darec.profiles.inputs import read_material
from recbole_darec.profiles.template import template_profiles

PARTS = ("train", "valid", "test")
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def write_tables(
    folder: Path,
    items: pd.DataFrame,
    users: pd.DataFrame,
    interactions: pd.DataFrame,
    labels: np.ndarray,
) -> None:
    """Write the data set ``d`` below ``folder``; label n sends an interaction into part n."""
    (folder / "d").mkdir(parents=True)
    tables = {"item": items, "user": users}
    for n, part in enumerate(PARTS):
        tables[f"{part}.inter"] = interactions[labels == n]
    for name, table in tables.items():
        table = table.rename(columns=lambda column: f"{column}:token")
        table.to_csv(folder / "d" / f"d.{name}", sep="\t", index=False, quoting=csv.QUOTE_MINIMAL)
    (folder / "d" / "d.yaml").write_text(
        f"load_col:\n  inter: [user_id, item_id]\nbenchmark_filename: [{', '.join(PARTS)}]\n",
        encoding="utf-8",
    )


def texts_of(
    items: pd.DataFrame, users: pd.DataFrame, interactions: pd.DataFrame, labels: np.ndarray
) -> tuple[dict[str, str], dict[str, str]]:
    """Return ``(user texts, item texts)`` in the domain ``movies``."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), items, users, interactions, labels)
        profiles = template_profiles(read_material("d", folder), read_domain("movies")).texts
    return profiles["user"], profiles["item"]


def ml_100k() -> Tables:
    """Return RecBole's ml-100k as ``(users, items, interactions)``, all cells as text."""
    tables = []
    for suffix in ("user", "item", "inter"):
        table = pd.read_csv(
            recbole_dir() / "dataset_example" / "ml-100k" / f"ml-100k.{suffix}",
            sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, encoding="utf-8",
        )  # fmt: skip
        tables.append(table.rename(columns=lambda name: name.split(":")[0]))
    return tables[0], tables[1], tables[2]

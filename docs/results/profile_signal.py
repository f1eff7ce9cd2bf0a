"""How much the profiles by themselves say of each part of a data set.

    python docs/results/profile_signal.py --dataset xrec_yelp --data_path dataset

For each interaction: the share of the items that the user never met whose profile is farther from
the user's than that of the item (0.5 says nothing, 1 everything), by the cosine of the centred
embeddings; beside it the same by the item's number of training interactions.  Profiles that say
clearly more of the validation part than of the test part were made with a look at it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from recbole_darec.cli.ending import exit_code
from recbole_darec.embeddings.binary import read_binary

SIDES = ("user", "item")
PARTS = ("train", "valid", "test")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", type=Path, default=Path("dataset"))
    args = parser.parse_args()
    matrices, parts = _read(args.data_path / args.dataset / args.dataset)
    met = np.zeros((len(matrices["user"]), len(matrices["item"])), dtype=bool)
    for users, items in parts.values():
        met[users, items] = True
    counts = np.bincount(parts["train"][1], minlength=met.shape[1]).astype(np.float32)
    print("| part | interactions | by profiles | standard error | by popularity |")
    print("| --- | --- | --- | --- | --- |")
    for part, (users, items) in parts.items():
        found: tuple[list[float], list[float]] = ([], [])
        for user in np.unique(users):
            others, own = ~met[user], items[users == user]
            for shares, scores in zip(found, (matrices["item"] @ matrices["user"][user], counts)):
                shares += [_share_below(scores[others], score) for score in scores[own]]
        by_profiles, by_counts = map(np.array, found)
        deviation = by_profiles.std() / len(by_profiles) ** 0.5
        print(
            f"| {part} | {len(by_profiles):,} | {by_profiles.mean():.3f} | {deviation:.3f} "
            f"| {by_counts.mean():.3f} |"
        )


def _read(stem: Path) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the centred unit rows of each side, and the rows of each part's pairs."""
    import pandas as pd

    frames = {
        part: pd.read_csv(f"{stem}.{part}.inter", sep="\t", dtype=str, keep_default_na=False)
        for part in PARTS
    }
    matrices, places = {}, {}
    for side in SIDES:
        table = read_binary(Path(f"{stem}.{side}emb"))
        matrices[side] = _centred(np.asarray(table.matrix, dtype=np.float32))
        places[side] = {token: row for row, token in enumerate(table.tokens)}
    parts = {}
    for part, frame in frames.items():
        users, items = (frame[f"{side}_id:token"].map(places[side]) for side in SIDES)
        known = users.notna() & items.notna()
        parts[part] = (users[known].to_numpy(np.int64), items[known].to_numpy(np.int64))
    return matrices, parts


def _centred(matrix: np.ndarray) -> np.ndarray:
    matrix = matrix - matrix.mean(0)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _share_below(others: np.ndarray, own: np.ndarray) -> float:
    return float((others < own).mean() + 0.5 * (others == own).mean())


if __name__ == "__main__":
    sys.exit(exit_code(main))

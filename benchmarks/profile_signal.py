"""How much the profiles by themselves say of each part of a data set.

    python benchmarks/profile_signal.py --dataset xrec_yelp --data_path dataset

For each interaction: the share of the items that the user never met whose profile is farther from
the user's than that of the item (0.5 says nothing, 1 everything), by the cosine of the centred
embeddings; beside it the same by the item's number of training interactions.  Profiles that say
clearly more of the validation part than of the test part were made with a look at it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from recbole_darec.embeddings.binary import read_binary

PARTS = ("train", "valid", "test")


def main() -> None:
    """Print the table."""
    import pandas as pd

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", type=Path, default=Path("dataset"))
    args = parser.parse_args()
    stem = args.data_path / args.dataset / args.dataset
    rows, places = {}, {}
    for side in ("user", "item"):
        table = read_binary(Path(f"{stem}.{side}emb"))
        rows[side] = _centred(np.asarray(table.matrix, dtype=np.float32))
        places[side] = {token: row for row, token in enumerate(table.tokens)}
    parts = {}
    for part in PARTS:
        frame = pd.read_csv(f"{stem}.{part}.inter", sep="\t", dtype=str, keep_default_na=False)
        ids = [frame[f"{side}_id:token"].map(places[side]) for side in ("user", "item")]
        known = ids[0].notna() & ids[1].notna()
        parts[part] = tuple(column[known].to_numpy(dtype=np.int64) for column in ids)
    met = np.zeros((len(rows["user"]), len(rows["item"])), dtype=bool)
    for users, items in parts.values():
        met[users, items] = True
    counts = np.bincount(parts["train"][1], minlength=len(rows["item"])).astype(np.float32)
    print("| part | interactions | by profiles | standard error | by popularity |")
    print("| --- | --- | --- | --- | --- |")
    for part, (users, items) in parts.items():
        found = np.array(
            [
                [
                    _share_below(scores[user_items], scores[item])
                    for scores in (rows["item"] @ rows["user"][user], counts)
                ]
                for user, item in zip(users, items)
                for user_items in [~met[user]]
            ]
        )
        error = found[:, 0].std() / len(found) ** 0.5
        print(
            f"| {part} | {len(found):,} | {found[:, 0].mean():.3f} | {error:.3f} "
            f"| {found[:, 1].mean():.3f} |"
        )


def _centred(matrix: np.ndarray) -> np.ndarray:
    matrix = matrix - matrix.mean(0)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _share_below(others: np.ndarray, own: np.ndarray) -> float:
    return float((others < own).mean() + 0.5 * (others == own).mean())


if __name__ == "__main__":
    main()

"""Make a text data set of Amazon's Prime Pantry, for `recbole-darec import table`.

    python docs/results/prime_pantry.py --source FOLDER --out FOLDER \\
        [--encoder NAME] [--cold-items SHARE]

``--source`` holds ``Prime_Pantry_cleaned_history.csv`` (a user's purchases in one list) and
``metadata_Prime_Pantry.csv`` (titles).  Users and items with under five purchases are left out
until none is; each user's purchases are split 3:1:1 by a fixed seed.  An item's text is its title,
a user's the titles of the training purchases: a test purchase is in no text.  With ``--cold-items``
a user's text leaves out what a run with ``--cold_items`` of this share holds out, too.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from recbole_darec.cli.ending import exit_code
from recbole_darec.data.splits import held_out

CORE, SEED = 5, 2020
RATIOS = (3.0, 1.0, 1.0)
PARTS = ("train", "valid", "test")


def main() -> None:
    """Write interactions, profiles and profile embeddings."""
    args = _arguments()
    titles = _titles(args.source / "metadata_Prime_Pantry.csv")
    pairs = _core(_purchases(args.source / "Prime_Pantry_cleaned_history.csv"))
    users, items = sorted({u for u, _ in pairs}), sorted({i for _, i in pairs})
    print(f"{len(users):,} users, {len(items):,} items, {len(pairs):,} interactions")
    parts = _split(pairs)
    bought: dict[str, list[str]] = {user: [] for user in users}
    cold = held_out(np.array([item for _, item in pairs]), args.cold_items, SEED)
    for (user, item), part, is_cold in zip(pairs, parts, cold):
        if part == "train" and not is_cold:
            bought[user].append(titles[item])
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "interactions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "split"])
        writer.writerows((user, item, part) for (user, item), part in zip(pairs, parts))
    texts = {
        "user": {u: "A shopper who bought " + "; ".join(bought[u]) + "." for u in users},
        "item": {i: titles[i] for i in items},
    }
    from recbole_darec.encoders import encode_texts

    for kind, profiles in texts.items():
        lines = (json.dumps({"id": i, "profile": text}) for i, text in profiles.items())
        (args.out / f"{kind}_profiles.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        rows = encode_texts(list(profiles.values()), args.encoder)
        np.save(args.out / f"{kind}_embeddings.npy", np.asarray(rows, dtype=np.float16))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--cold-items", type=float, default=0.0, metavar="SHARE")
    return parser.parse_args()


def _titles(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["asin"]: " ".join(row["title"].split()) for row in csv.DictReader(file)}


def _purchases(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            (row["user"], item)
            for row in csv.DictReader(file)
            for item in dict.fromkeys(ast.literal_eval(row["history"]))
        ]


def _core(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out users and items with fewer than ``CORE`` purchases until none is."""
    while True:
        of_user, of_item = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if of_user[u] >= CORE and of_item[i] >= CORE]
        if len(kept) == len(pairs):
            return pairs
        pairs = kept


def _split(pairs: list[tuple[str, str]]) -> list[str]:
    from recbole_darec.data.splits import ratio_split

    users = np.array([user for user, _ in pairs])
    labels = ratio_split(users, len(pairs), ratios=RATIOS, seed=SEED)
    return [PARTS[label] for label in labels]


if __name__ == "__main__":
    sys.exit(exit_code(main))

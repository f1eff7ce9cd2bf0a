"""Shuffle what may be one day's purchases in Prime Pantry's lists.

    python docs/results/tied_days.py --source FOLDER --out FILE.csv [--seed N]
    recbole-darec import sequences FILE.csv --items FOLDER/metadata_Prime_Pantry.csv \\
        --dataset prime_pantry_any_order

The lists have no times.  Three quarters of their neighbours ascend in the order of the items' file,
half would by chance: purchases of one day stand in the order of the catalogue, it seems.  Each
longest run of ascending items is put into a random order; its place in the list stays.  Runs that
ascend by chance are shuffled, too, so that what a score loses is at most the catalogue's part.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_darec.cli.ending import exit_code
from recbole_darec.data.files import replacing
from recbole_darec.errors import DataError
from recbole_darec.sources.lists.reading import read_items, read_lists

LISTS, ITEMS = "Prime_Pantry_cleaned_history.csv", "metadata_Prime_Pantry.csv"


def main() -> None:
    """Write the lists and say how many neighbours ascend, before and after."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="the folder with both files")
    parser.add_argument("--out", type=Path, required=True, help="the file that is written")
    parser.add_argument("--seed", type=int, default=2020)
    args = parser.parse_args()
    if not args.out.parent.is_dir():
        raise DataError(f"--out: '{args.out.parent}' is no folder; make it, or name another")
    users, lists, _ = read_lists(args.source / LISTS)
    texts, _, _ = read_items(args.source / ITEMS, {item: 0 for items in lists for item in items})
    place = {item: n for n, item in enumerate(texts)}
    draws = random.Random(args.seed)
    shuffled = [in_any_order(items, place, draws) for items in lists]
    with replacing(args.out) as file:
        lines = [f'{user},"{items}"\n' for user, items in zip(users, shuffled)]
        file.write(("user,history\n" + "".join(lines)).encode())
    for name, found in (("as they are", lists), ("shuffled", shuffled)):
        print(f"{name}: {ascending(found, place):.1%} of neighbours ascend")


def in_any_order(items: Sequence[str], place: Mapping[str, int], draws: random.Random) -> list[str]:
    """Return a list whose longest ascending runs are each in a random order."""
    found: list[str] = []
    run: list[str] = []
    for item in items:
        if run and place[item] <= place[run[-1]]:
            found += draws.sample(run, len(run))
            run = []
        run.append(item)
    return found + draws.sample(run, len(run))


def ascending(lists: Sequence[Sequence[str]], place: Mapping[str, int]) -> float:
    """Return the share of neighbours, the same item twice left out, that ascend."""
    pairs = [(a, b) for items in lists for a, b in itertools.pairwise(items) if a != b]
    return sum(place[a] < place[b] for a, b in pairs) / len(pairs)


if __name__ == "__main__":
    sys.exit(exit_code(main))

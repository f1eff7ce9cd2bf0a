"""Write RecBole's copy of ml-100k as a raw release, for 'prepare movielens' to read.

    python docs/results/ml_100k_raw.py --out raw/ml-100k
    recbole-darec prepare movielens --raw raw/ml-100k --dataset ml-100k-latest --min-rating 4 \\
        --split leave-one-out --user-core 5 --item-core 0 --latest 23

With GroupLens's own ``ml-100k.zip`` at hand this file is not needed.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

from recbole_darec.cli.ending import exit_code
from recbole_darec.data.files import replacing
from recbole_darec.environment import recbole_dir

RATINGS = ("user_id", "item_id", "rating", "timestamp")
# The genres stand beside each other with a space between; none of their names has one.
FILMS = ("item_id", "movie_title", "release_year", "class")


def main() -> None:
    """Write ratings.csv and movies.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder that is made")
    args = parser.parse_args()
    ratings = [["userId", "movieId", "rating", "timestamp"], *rows("ml-100k.inter", RATINGS)]
    movies = [["movieId", "title", "genres"]]
    for item, title, year, genres in rows("ml-100k.item", FILMS):
        named = f"{title} ({year})" if year.isdecimal() else title
        movies.append([item, named, genres.replace(" ", "|")])
    args.out.mkdir(parents=True, exist_ok=True)
    for name, lines in (("ratings.csv", ratings), ("movies.csv", movies)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        with replacing(args.out / name) as file:
            file.write(text.getvalue().encode())
    print(f"{len(ratings) - 1:,} ratings of {len(movies) - 1:,} movies in {args.out}")


def rows(name: str, fields: tuple[str, ...]) -> list[list[str]]:
    """Return these columns of one of RecBole's files."""
    head, *lines = (
        (recbole_dir() / "dataset_example" / "ml-100k" / name)
        .read_text(encoding="utf-8")
        .splitlines()
    )
    names = [cell.partition(":")[0] for cell in head.split("\t")]
    places = [names.index(field) for field in fields]
    return [[line.split("\t")[place] for place in places] for line in lines]


if __name__ == "__main__":
    sys.exit(exit_code(main))

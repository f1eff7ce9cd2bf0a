"""Small raw data sets in the very formats of the public releases, with planted oddities on demand.

Everything is drawn from a seed; the same arguments give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WORDS = ("quiet", "loud", "red", "old", "new", "long", "fine", "dull", "sharp", "warm", "cold")


def words(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n))


def pairs(seed: int, users: int, items: int, n: int) -> list[tuple[int, int]]:
    """n different pairs, the users and items with low numbers more often."""
    if n > users * items:
        raise ValueError("there are not so many pairs")
    rng = random.Random(seed)
    found: dict[tuple[int, int], None] = {}
    while len(found) < n:
        found[int(users * rng.random() ** 1.5), int(items * rng.random() ** 1.5)] = None
    return list(found)


def write(path: Path, lines: Iterable[Any], pack: bool = False, end: str = "\n") -> Path:
    """Write text lines; anything but text is dumped as JSON."""
    text = "".join(
        (line if isinstance(line, str) else json.dumps(line)) + end for line in lines
    ).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, mtime=0) if pack else text)
    return path


def amazon_2018(user: str, item: str, rating: float, time: int, text: str, **more: Any) -> dict:
    record = {
        "overall": rating,
        "verified": True,
        "reviewTime": "09 13, 2009",
        "reviewerID": user,
        "asin": item,
        "reviewerName": "J. McDonald",
        "reviewText": text,
        "summary": "Heavenly Highway Hymns",
        "unixReviewTime": time,
        "image": ["https://images/x.jpg"],
    }
    return {**record, **more}


def amazon_2023(user: str, item: str, rating: float, time: int, text: str, **more: Any) -> dict:
    record = {
        "rating": rating,
        "title": "Such a lovely scent",
        "text": text,
        "images": [],
        "asin": item + "-variant",
        "parent_asin": item,
        "user_id": user,
        "timestamp": time * 1000 + 70,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    return {**record, **more}


def yelp_review(user: str, item: str, rating: float, time: str, text: str, **more: Any) -> dict:
    record = {
        "review_id": "KU_O5udG6zpxOg-VcAEodg",
        "user_id": user,
        "business_id": item,
        "stars": rating,
        "useful": 0,
        "funny": 0,
        "cool": 0,
        "text": text,
        "date": time,
    }
    return {**record, **more}


def python2(value: Any) -> str:
    """Print a value as Python 2 did: texts with u'…', characters beyond ASCII escaped."""
    if isinstance(value, str):
        return "u" + ascii(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{python2(k)}: {python2(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(python2, value)) + "]"
    return repr(value)


def steam_review(user: str, item: str, day: str, text: str, **more: Any) -> str:
    record = {
        "username": user,
        "hours": 1.0,
        "products": 105,
        "product_id": item,
        "page_order": 0,
        "date": day,
        "text": text,
        "early_access": False,
        "page": 1,
        "compensation": None,
    }
    return python2({**record, **more})


def amazon(
    folder: Path,
    edition: int = 2018,
    n: int = 600,
    users: int = 40,
    items: int = 30,
    pack: bool = False,
    seed: int = 1,
    text_words: int = 12,
) -> list[dict]:
    """Write reviews and metadata; returns the reviews' records."""
    rng = random.Random(seed)
    make = amazon_2023 if edition == 2023 else amazon_2018
    records = [
        make(
            f"A{user:013d}",
            f"B{item:09d}",
            float(rng.randint(1, 5)),
            1_400_000_000 + rng.randrange(10**8),
            words(rng, text_words),
        )
        for user, item in pairs(seed, users, items, n)
    ]
    end = ".json.gz" if pack else ".json"
    write(folder / f"Books{end}", records, pack)
    write(folder / f"meta_Books{end}", amazon_metadata(edition, items), pack)
    return records


def amazon_metadata(edition: int, items: int) -> list[Any]:
    rng = random.Random(edition)
    lines: list[Any] = []
    for item in range(items):
        name, title = f"B{item:09d}", f"The {words(rng, 2)} book"
        if edition == 2014:  # Python literals
            lines.append(
                repr(
                    {
                        "asin": name,
                        "title": title,
                        "description": f"It's {words(rng, 5)}",
                        "price": 7.5,
                        "salesRank": {"Books": 6334800},
                        "categories": [["Books", "Fiction & More"], ["Books", "Crime"]],
                    }
                )
            )
        elif edition == 2018:
            lines.append(
                {
                    "asin": name,
                    "title": title,
                    "description": [f"<b>{words(rng, 4)}</b> &amp; {words(rng, 2)}", ""],
                    "category": ["Books", "Fiction &amp; More"],
                    "brand": "Jane Doe",
                    "price": "$7.50",
                    "rank": "1,234 in Books",
                    "feature": [],
                }
            )
        else:
            lines.append(
                {
                    "main_category": "Books",
                    "title": title,
                    "average_rating": 4.1,
                    "rating_number": 12,
                    "features": ["hardcover", "signed"],
                    "description": [words(rng, 4), words(rng, 2)],
                    "price": None,
                    "store": "Jane Doe (Author)",
                    "categories": ["Books", "Fiction & More"],
                    "details": {"Publisher": "X"},
                    "parent_asin": name,
                    "author": {"name": "Jane Doe", "about": ["…"]},
                }
            )
    return lines


def yelp(folder: Path, n: int = 600, users: int = 40, items: int = 30, prefix: str = "") -> None:
    """Write review.json, business.json and user.json."""
    rng = random.Random(2)
    write(
        folder / f"{prefix}review.json",
        (
            yelp_review(
                f"u_{user:020d}",
                f"b-{item:020d}",
                float(rng.randint(1, 5)),
                f"20{rng.randint(10, 19)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)} 18:37:21",
                words(rng, 8) + "\n\n" + words(rng, 3),
            )
            for user, item in pairs(2, users, items, n)
        ),
    )
    write(
        folder / f"{prefix}business.json",
        (
            {
                "business_id": f"b-{item:020d}",
                "name": f"Joe's {words(rng, 1)} Café",
                "address": "x",
                "city": "Montréal",
                "state": "QC",
                "stars": 3.5,
                "review_count": 22,
                "attributes": {
                    "WiFi": "u'free'",
                    "BikeParking": "True",
                    "Caters": "False",
                    "BusinessParking": "{'garage': False, 'street': True}",
                    "Alcohol": "'none'",
                },
                "categories": "Gastropubs, Food",
                "hours": None,
            }
            for item in range(items)
        ),
    )
    write(
        folder / f"{prefix}user.json",
        (
            {
                "user_id": f"u_{user:020d}",
                "name": "Zoé",
                "review_count": 5,
                "yelping_since": "2013-10-08 23:11:33",
                "friends": "a, b",
                "average_stars": 4.5,
            }
            for user in range(users)
        ),
    )


def steam(folder: Path, n: int = 600, users: int = 40, items: int = 30, pack: bool = False) -> None:
    """Write steam_reviews.json and steam_games.json."""
    rng = random.Random(3)
    end = ".json.gz" if pack else ".json"
    write(
        folder / f"steam_reviews{end}",
        (
            steam_review(
                f'"Ünï" {user}',
                str(item),
                f"2017-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}",
                f'{words(rng, 5)} it\'s "great" 😀',
            )
            for user, item in pairs(3, users, items, n)
        ),
        pack,
    )
    write(
        folder / f"steam_games{end}",
        (
            python2(
                {
                    "publisher": "Kotoshiro",
                    "genres": ["Action", "Indie"],
                    "app_name": "Lost Summoner Kitty",
                    "title": "Lost Summoner Kitty",
                    "release_date": "2018-01-04",
                    "tags": ["Strategy", "Action"],
                    "price": 4.99,
                    "specs": ["Single-player", "Full controller support"],
                    "early_access": False,
                    "sentiment": "Mostly Positive",
                    "id": str(item),
                    "developer": "Kotoshiro",
                }
            )
            for item in range(items)
        ),
        pack,
    )


def movielens_100k(folder: Path, n: int = 600, users: int = 40, items: int = 30) -> None:
    """Write u.data, u.item, u.user and u.genre."""
    rng = random.Random(4)
    genres = ["unknown", "Action", "Drama"]
    ratings = [
        f"{u + 1}\t{i + 1}\t{rng.randint(1, 5)}\t{880_000_000 + rng.randrange(10**6)}"
        for u, i in pairs(4, users, items, n)
    ]
    write(folder / "u.data", ratings)
    flags = ["0|1|1", "0|0|1", "1|0|0"]
    movies = [
        f"{i + 1}|Misérables {i}, Les (1995)|01-Jan-1996||http://x/|{flags[i % 3]}"
        for i in range(items)
    ]
    folder.joinpath("u.item").write_bytes(("\n".join(movies) + "\n").encode("latin-1"))
    write(folder / "u.genre", [*(f"{genre}|{n}" for n, genre in enumerate(genres)), ""])
    write(folder / "u.user", [f"{u + 1}|24|M|technician|85711" for u in range(users)])


def movielens_1m(folder: Path, n: int = 600, users: int = 40, items: int = 30) -> None:
    """Write ratings.dat, movies.dat and users.dat."""
    rng = random.Random(5)
    ratings = [
        f"{u + 1}::{i + 1}::{rng.randint(1, 5)}::{970_000_000 + rng.randrange(10**6)}"
        for u, i in pairs(5, users, items, n)
    ]
    write(folder / "ratings.dat", ratings)
    movies = [f"{i + 1}::Café {i}: Part 2 (2000)::Comedy|Sci-Fi" for i in range(items)]
    folder.joinpath("movies.dat").write_bytes(("\n".join(movies) + "\n").encode("latin-1"))
    write(folder / "users.dat", [f"{u + 1}::F::25::12::48067-0123" for u in range(users)])

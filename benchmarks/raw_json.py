"""Generated interactions as the JSON lines of public releases, for benchmarks.

The texts are of very different lengths, 300 characters in the mean; four in ten have what must be
cleaned or escaped: quotes, line breaks, tags, entities, characters beyond ASCII.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from prepare_reviews import texts

__all__ = ["FORMATS"]

_BLOCK = 100_000
_ODD = (' "so" ', "\n\n", "<br />", " &amp; ", " caf\u00e9 \u2013 ")


def _amazon(user: int, item: int, rating: int, moment: int, text: str, n: int) -> dict[str, Any]:
    return {
        "overall": float(rating),
        "verified": True,
        "reviewTime": "09 13, 2009",
        "reviewerID": f"A{user:013d}",
        "asin": f"B{item:09d}",
        "style": {"Format:": "Hardcover"},
        "reviewerName": "J. McDonald",
        "reviewText": text,
        "summary": "Heavenly",
        "unixReviewTime": moment,
    }


def _yelp(user: int, item: int, rating: int, moment: int, text: str, n: int) -> dict[str, Any]:
    return {
        "review_id": f"{n:022d}",
        "user_id": f"u{user:021d}",
        "business_id": f"b{item:021d}",
        "stars": float(rating),
        "useful": 0,
        "funny": 0,
        "cool": 0,
        "text": text,
        "date": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)),
    }


def _goodreads(user: int, item: int, rating: int, moment: int, _: str, n: int) -> dict[str, Any]:
    date = time.strftime("%a %b %d %H:%M:%S -0700 %Y", time.gmtime(moment))
    return {
        "user_id": f"{user:032x}",
        "book_id": str(item),
        "review_id": f"{n:032x}",
        "is_read": True,
        "rating": rating,
        "review_text_incomplete": "",
        "date_added": date,
        "date_updated": date,
        "read_at": "",
        "started_at": "",
    }


def _writer(make: Callable[..., dict[str, Any]]) -> Callable[[IO[bytes], int], None]:
    def write(file: IO[bytes], n: int) -> None:
        numbers, rng = np.random.default_rng(0), random.Random(0)
        pool = texts(rng, 5000)
        for place in rng.sample(range(len(pool)), 2 * len(pool) // 5):
            words = pool[place].split(" ")
            for _ in range(1 + len(words) // 20):
                words.insert(rng.randrange(len(words)), rng.choice(_ODD))
            pool[place] = " ".join(words)
        for begin in range(0, n, _BLOCK):
            size = min(_BLOCK, n - begin)
            columns = (
                (max(n // 30, 50) * numbers.random(size) ** 2).astype(np.int64),
                (max(n // 60, 40) * numbers.random(size) ** 2).astype(np.int64),
                numbers.choice(5, size, p=[0.05, 0.05, 0.1, 0.2, 0.6]) + 1,
                numbers.integers(1_000_000_000, 1_500_000_000, size),
                numbers.integers(0, len(pool), size),
            )
            rows = zip(*(column.tolist() for column in columns))
            lines = [
                json.dumps(make(user, item, rating, moment, pool[text], begin + row)) + "\n"
                for row, (user, item, rating, moment, text) in enumerate(rows)
            ]
            file.write("".join(lines).encode())

    return write


FORMATS = {
    "amazon": ("Books.json", _writer(_amazon)),
    "yelp": ("review.json", _writer(_yelp)),
    "goodreads": ("goodreads_interactions.json", _writer(_goodreads)),
}
"""Of each source the name of the file and what writes so many lines into it."""

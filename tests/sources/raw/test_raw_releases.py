"""The releases of today, in the very formats of their publishers, by the public command."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from recbole_darec.cli.main import main
from recbole_darec.errors import DataError
from recbole_darec.sources.raw import prepare

from . import makers
from .test_raw_prepare import reviews, table, together

USERS, ITEMS, N = 20, 15, 200


def run(source: str, raw: Path, out: Path, *more: str, k_core: int = 4) -> Path:
    """Prepare by the public command; returns the data set's folder."""
    given = ["prepare", source, "--raw", str(raw), "--dataset", "d", "--out", str(out)]
    assert main([*given, "--k-core", str(k_core), *more]) == 0
    return out / "d"


def item(folder: Path, token: str) -> dict[str, str]:
    return table(folder / "d.item").fillna("").set_index("item_id").loc[token].to_dict()


# -- MovieLens ------------------------------------------------------------------------------------

MOVIES = [
    "movieId,title,genres",
    "1,Toy Story (1995),Adventure|Animation|Children|Comedy|Fantasy",
    '2,"American President, The (1995)",Comedy|Drama|Romance',
    '3,"Shanghai Triad (Yao a yao yao dao ""waipo"" qiao) (1995) ",Drama',
    "4,Babylon 5,(no genres listed)",
    "5,Fawlty Towers (1975-1979),Comedy",
    *(f"{n},Film {n} (2001),Drama" for n in range(6, ITEMS + 1)),
]


def movielens(folder: Path, end: str = "\n", pack: bool = False) -> list[tuple[int, int]]:
    rng = random.Random(1)
    found = makers.pairs(8, USERS, ITEMS, N)
    ratings = [
        f"{u + 1},{i + 1},{rng.choice(['0.5', '3.0', '4.5', '5.0'])},{964_982_703 + n}"
        for n, (u, i) in enumerate(found)
    ]
    suffix = ".gz" if pack else ""
    header = "userId,movieId,rating,timestamp"
    makers.write(folder / f"ratings.csv{suffix}", [header, *ratings], pack, end)
    makers.write(folder / f"movies.csv{suffix}", MOVIES, pack, end)
    makers.write(folder / "tags.csv", ["userId,movieId,tag,timestamp", '2,3,"dark, x",1445714994'])
    makers.write(folder / "links.csv", ["movieId,imdbId,tmdbId", "1,0114709,862"])
    return found


@pytest.mark.parametrize(("end", "pack"), [("\n", False), ("\r\n", False), ("\n", True)])
def test_movielens_csv(tmp_path: Path, end: str, pack: bool) -> None:
    movielens(tmp_path / "raw" / "ml-32m", end, pack)
    folder = run("movielens", tmp_path / "raw", tmp_path)
    assert item(folder, "1") == {
        "title": "Toy Story",
        "year": "1995",
        "categories": "Adventure, Animation, Children, Comedy, Fantasy",
    }
    assert item(folder, "2")["title"] == "American President, The"
    assert item(folder, "3")["title"] == 'Shanghai Triad (Yao a yao yao dao "waipo" qiao)'
    assert item(folder, "4") == {"title": "Babylon 5", "year": "", "categories": ""}
    assert (item(folder, "5")["title"], item(folder, "5")["year"]) == ("Fawlty Towers", "1975")
    inter = together(folder)
    assert inter["rating"].astype(float).between(3, 5).all()
    assert inter["timestamp"].astype(float).min() >= 964_982_703
    assert "dark" not in (folder / "d.item").read_text("utf-8")


def test_faults_of_a_csv_have_their_lines(tmp_path: Path) -> None:
    found = movielens(tmp_path / "raw")
    path = tmp_path / "raw" / "ratings.csv"
    lines = path.read_text().splitlines()
    bad = {
        "fewer fields than the header": "1,2,3.0",
        "more fields than the header": "1,2,3.0,4,5",
        "'rating' is no number": "1,2,good,4",
        "'timestamp' is not finite": "1,2,3.0,inf",
        "a quote without its end": '1,"2,3.0,4',
        "a user id that RecBole would lose": ",2,3.0,4",
    }
    for n, line in enumerate(bad.values()):
        lines.insert(10 * n + 5, line)
    path.write_text("\n".join(lines) + "\n")
    report = prepare("movielens", tmp_path / "raw", "d", tmp_path, k_core=0)
    assert report.read == len(found)
    assert {kind: (f.times, f.first) for kind, f in report.faults[0].found.items()} == {
        kind: (1, f"ratings.csv:{10 * n + 6}") for n, kind in enumerate(bad)
    }


def test_a_csv_of_something_else_is_told(tmp_path: Path) -> None:
    makers.write(tmp_path / "raw" / "ratings.csv", ["User-ID;ISBN;Book-Rating", "1;2;3"])
    with pytest.raises(DataError, match="has no column userId"):
        prepare("movielens", tmp_path / "raw", "d", tmp_path)
    (tmp_path / "raw" / "ratings.csv").rename(tmp_path / "raw" / "ml-32m.zip")
    with pytest.raises(DataError, match=r"neither ratings\.csv.*unpack ml-32m\.zip first"):
        prepare("movielens", tmp_path / "raw", "d", tmp_path)


# -- Amazon 2023 ----------------------------------------------------------------------------------


def as_parquet(records: list[dict], path: Path, pieces: int = 1) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path.mkdir(parents=True, exist_ok=True)
    size = -(-len(records) // pieces)
    for n in range(pieces):
        rows = pa.Table.from_pylist(records[n * size : (n + 1) * size])
        pq.write_table(rows, path / f"full-{n:05d}-of-{pieces:05d}.parquet")


def metadata_2023() -> list[dict]:
    """As the columns of the Parquet files are: the author as a text, "None" for no price."""
    return [
        {
            **record,
            "price": "None" if n % 2 else "7.5",
            "author": str(record["author"]) if n % 2 else "None",
            "details": json.dumps(record["details"]),
            "images": {"hi_res": [None], "large": ["x"], "thumb": [], "variant": []},
        }
        for n, record in enumerate(makers.amazon_metadata(2023, ITEMS))
    ]


def test_amazon_2023_as_parquet_is_what_it_is_as_json_lines(tmp_path: Path) -> None:
    records = makers.amazon(tmp_path / "json", 2023, n=N, users=USERS, items=ITEMS)
    makers.write(tmp_path / "json" / "meta_Books.json", metadata_2023())
    as_parquet(records, tmp_path / "parquet" / "raw_review_Books", 3)
    as_parquet(metadata_2023(), tmp_path / "parquet" / "raw_meta_Books", 2)
    lines = run("amazon", tmp_path / "json", tmp_path / "a")
    rows = run("amazon", tmp_path / "parquet", tmp_path / "b")
    names = {path.name for path in lines.iterdir()}
    assert names == {path.name for path in rows.iterdir()} > {"d.item", "d.reviews.jsonl"}
    for name in names - {"d.yaml"}:
        assert (lines / name).read_bytes() == (rows / name).read_bytes(), name
    assert item(rows, "B000000001")["brand"] == "Jane Doe"
    assert item(rows, "B000000001")["price"] == ""
    assert item(rows, "B000000002")["brand"] == "Jane Doe (Author)"
    assert item(rows, "B000000002")["price"] == "7.5"


def test_faults_in_parquet_are_counted_by_row(tmp_path: Path) -> None:
    records = makers.amazon(tmp_path / "json", 2023, n=N, users=USERS, items=ITEMS)
    records[7]["user_id"] = None
    records[150]["rating"] = float("nan")
    as_parquet(records, tmp_path / "raw", 2)
    report = prepare("amazon", tmp_path / "raw", "d", tmp_path, k_core=0)
    found = [{k: f.first for k, f in of_file.found.items()} for of_file in report.faults]
    assert found == [
        {"no 'user_id'": "full-00000-of-00002.parquet:8"},
        {"'rating' is not finite": "full-00001-of-00002.parquet:51"},
    ]
    damaged = tmp_path / "raw" / "full-00001-of-00002.parquet"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        prepare("amazon", tmp_path / "raw", "e", tmp_path, k_core=0)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("parts", [("",), (".train", ".valid", ".test")])
def test_the_ratings_of_amazon_2023(tmp_path: Path, parts: tuple[str, ...], history: bool) -> None:
    rows = [
        f"U{u},B{i:05d},{5.0 - n % 2},{1_600_000_000_123 + n}" + ",B00001 B00002" * history
        for n, (u, i) in enumerate(makers.pairs(3, USERS, ITEMS, N))
    ]
    header = "user_id,parent_asin,rating,timestamp" + ",history" * history
    for n, part in enumerate(parts):
        lines = [header, *rows[n :: len(parts)]]
        makers.write(tmp_path / "raw" / f"Books{part}.csv.gz", lines, pack=True)
    meta = [{"parent_asin": f"B{i:05d}", "title": f"Book {i}"} for i in range(ITEMS)]
    makers.write(tmp_path / "raw" / "meta_Books.jsonl", meta)
    folder = run("amazon", tmp_path / "raw", tmp_path, k_core=0)
    inter = together(folder)
    assert len(inter) == N
    assert inter["timestamp"].astype(float).max() == pytest.approx(
        1_600_000_000.123 + (N - 1) / 1e3
    )
    assert item(folder, "B00003")["title"] == "Book 3"
    assert not (folder / "d.reviews.jsonl").exists()


def test_repeated_reviews_and_ratings_of_0_of_amazon_2023(tmp_path: Path) -> None:
    """The release has both: the same review twice or more, and a rating of 0.0."""
    records = makers.amazon(tmp_path / "raw", 2023, n=N, users=USERS, items=ITEMS)
    records[0]["rating"] = 0.0
    makers.write(tmp_path / "raw" / "Books.json", [*records, *records[:50], *records[:50]])
    makers.write(tmp_path / "raw" / "meta_Books.json", [*metadata_2023(), *metadata_2023()])
    report = prepare("amazon", tmp_path / "raw", "d", tmp_path, k_core=0)
    assert report.duplicates == 100
    assert report.kept == sum(record["rating"] >= 3 for record in records)
    assert table(tmp_path / "d" / "d.item")["item_id"].is_unique


# -- Yelp -----------------------------------------------------------------------------------------


def test_yelp_as_it_is_released_today(tmp_path: Path) -> None:
    makers.yelp(tmp_path / "raw", n=N, users=USERS, items=ITEMS, prefix="yelp_academic_dataset_")
    path = tmp_path / "raw" / "yelp_academic_dataset_business.json"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    lines[0].update(attributes=None, categories=None, hours=None)
    lines[1]["attributes"] = {"Ambience": "{'romantic': False, u'casual': True}", "Music": "None"}
    makers.write(path, lines)
    for other in ("checkin", "tip"):
        makers.write(tmp_path / "raw" / f"yelp_academic_dataset_{other}.json", [{"date": "2016"}])
    folder = run("yelp", tmp_path / "raw", tmp_path)
    first = item(folder, f"b-{0:020d}")
    assert (first["categories"], first["attributes"]) == ("", "")
    assert item(folder, f"b-{1:020d}")["attributes"] == "Ambience: casual"


# -- Steam ----------------------------------------------------------------------------------------


def test_steam_recommendations(tmp_path: Path) -> None:
    found = makers.pairs(4, USERS, ITEMS, N)
    header = "app_id,helpful,funny,date,is_recommended,hours,user_id,review_id"
    lines = [
        f"{i},0,0,2022-12-{1 + n % 28:02d},{'false' if n % 5 == 0 else 'true'},36.3,{u},{n}"
        for n, (u, i) in enumerate(found)
    ]
    makers.write(tmp_path / "raw" / "recommendations.csv", [header, *lines])
    games = [
        "app_id,title,date_release,win,mac,linux,rating,positive_ratio,user_reviews,price_final,"
        "price_original,discount,steam_deck",
        '0,"Warhammer 40,000: Dawn",2008-11-21,true,false,false,Very Positive,84,2199,9.99,9.99,'
        "0.0,true",
        *(f"{n},Game {n}™,2011-0{n % 9 + 1}-01,true,true,true,Mixed,50,9,0.0,0.0,0.0,true"
          for n in range(1, ITEMS)),
    ]  # fmt: skip
    makers.write(tmp_path / "raw" / "games.csv", games)
    meta = [{"app_id": 0, "description": "A  war.", "tags": ["Strategy", "Action"]}]
    makers.write(tmp_path / "raw" / "games_metadata.json", meta)
    folder = run("steam", tmp_path / "raw", tmp_path, k_core=0)
    liked = {(str(u), str(i)) for n, (u, i) in enumerate(found) if n % 5}
    inter = together(folder)
    assert set(zip(inter["user_id"], inter["item_id"])) == liked
    assert list(inter.columns) == ["user_id", "item_id", "timestamp"]
    assert item(folder, "0") == {
        "title": "Warhammer 40,000: Dawn",
        "description": "A war.",
        "categories": "Strategy, Action",
        "year": "2008",
        "price": "9.99",
    }
    assert item(folder, "1")["description"] == ""
    assert "Positive" not in (folder / "d.item").read_text("utf-8")


# -- Goodreads ------------------------------------------------------------------------------------


def goodreads(folder: Path, text: str = "review_text_incomplete") -> list[tuple[int, int]]:
    found = makers.pairs(5, USERS, ITEMS, N)
    lines = [
        {
            "user_id": f"8842281e1d1347389f2ab93d6077{u:04d}",
            "book_id": str(1000 + i),
            "review_id": f"{n:032x}",
            "is_read": bool(n % 4),
            "rating": (n % 4) and 3 + n % 3,
            text: f"Fine\nno {n}." if n % 2 else "",
            "date_added": "Wed Mar 22 11:37:04 -0700 2017",
            "date_updated": "Wed Mar 22 11:37:05 -0700 2017",
            "read_at": "",
            "started_at": "",
        }
        for n, (u, i) in enumerate(found)
    ]
    kind = "reviews" if text == "review_text" else "interactions"
    makers.write(folder / f"goodreads_{kind}_children.json.gz", lines, pack=True)
    books = [
        {
            "isbn": "0312853122",
            "popular_shelves": [{"count": "3", "name": "to-read"}],
            "average_rating": "4.00",
            "similar_books": ["1001"],
            "description": "A  tale\nof a cat.",
            "authors": [{"author_id": "604031", "role": ""}, {"author_id": "7", "role": "Editor"}],
            "publisher": "St. Martin's Press",
            "publication_year": "1984",
            "book_id": str(1000 + n),
            "title": f"Book {n}: A Life",
        }
        for n in range(ITEMS)
    ]
    makers.write(folder / "goodreads_books_children.json.gz", books, pack=True)
    return found


@pytest.mark.parametrize("text", ["review_text_incomplete", "review_text"])
def test_goodreads(tmp_path: Path, text: str) -> None:
    found = goodreads(tmp_path / "raw", text)
    folder = run("goodreads", tmp_path / "raw", tmp_path, k_core=0)
    inter = together(folder)
    rated = {(u, i) for n, (u, i) in enumerate(found) if n % 4}
    assert {
        (int(u[-4:]), int(i) - 1000) for u, i in zip(inter["user_id"], inter["item_id"])
    } == rated
    moment = pd.Timestamp("2017-03-22T18:37:04Z").timestamp()
    assert set(inter["timestamp"].astype(float)) == {moment}
    assert {one["review"][:8] for one in reviews(folder)} == {"Fine no "}
    book = item(folder, "1003")
    assert book["title"] == "Book 3: A Life"
    assert (book["author"], book["categories"]) == ("", "")
    assert (book["year"], book["publisher"]) == ("1984", "St. Martin's Press")
    assert "to-read" not in (folder / "d.item").read_text("utf-8")


def test_the_spoilers_of_goodreads(tmp_path: Path) -> None:
    lines = [
        {"user_id": f"{u:032x}", "book_id": str(i), "rating": 5, "timestamp": "2017-08-30",
         "review_sentences": [[0, "It begins."], [1, "He dies."]], "has_spoiler": True}
        for u, i in makers.pairs(5, USERS, ITEMS, N)
    ]  # fmt: skip
    makers.write(tmp_path / "raw" / "goodreads_reviews_spoiler.json.gz", lines, pack=True)
    folder = run("goodreads", tmp_path / "raw", tmp_path, k_core=0)
    moment = pd.Timestamp("2017-08-30T00:00:00Z").timestamp()
    assert set(together(folder)["timestamp"].astype(float)) == {moment}
    assert reviews(folder)[0]["review"] == "It begins. He dies."


def test_goodreads_with_authors_and_genres_and_all_shelves(tmp_path: Path) -> None:
    found = goodreads(tmp_path / "raw")
    authors = [
        {"author_id": "7", "name": "B. Editor"},
        {"author_id": "604031", "name": "A. Fields"},
    ]
    makers.write(tmp_path / "raw" / "goodreads_book_authors.json.gz", authors, pack=True)
    genres = [
        {"book_id": "1003", "genres": {"history, biography": 5, "fiction": 2}},
        {"book_id": "9"},
    ]
    makers.write(tmp_path / "raw" / "goodreads_book_genres_initial.json", genres)
    folder = run("goodreads", tmp_path / "raw", tmp_path, "--min-rating", "0", k_core=0)
    assert len(together(folder)) == len(found)
    assert item(folder, "1003")["author"] == "A. Fields, B. Editor"
    assert item(folder, "1003")["categories"] == "history, biography, fiction"
    assert item(folder, "1004")["categories"] == ""


@pytest.mark.parametrize(
    "text",
    ["Wed Mar 22 11:37:04 -0700", "Wed Foo 22 11:37:04 -0700 2017", "2017-03-22", "", None, 7,
     "Wed Mar 22 11:37:04 0700 2017", "Wed Mar 22 11:37 -0700 2017"],
)  # fmt: skip
def test_a_goodreads_date_that_is_none_is_a_fault(tmp_path: Path, text: object) -> None:
    goodreads(tmp_path / "raw")
    path = tmp_path / "raw" / "goodreads_interactions_children.json.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    lines[2]["date_added"] = text
    makers.write(path, lines, pack=True)
    report = prepare("goodreads", tmp_path / "raw", "d", tmp_path, k_core=0)
    ((kind, fault),) = report.faults[0].found.items()
    assert "date_added" in kind
    assert fault.first == f"{path.name}:3"


# -- MIND -----------------------------------------------------------------------------------------


def news(number: int) -> str:
    entity = '[{"Label": "PGA Tour", "Type": "O", "WikidataId": "Q910409"}]'
    return "\t".join(
        [f"N{number}", "sports", "golf", f'The "{number}" Brands', "Shop  it.", "https://x", entity,
         "[]"]
    )  # fmt: skip


def mind(folder: Path) -> None:
    makers.write(folder / "MINDsmall_train" / "news.tsv", [news(n) for n in range(6)])
    makers.write(folder / "MINDsmall_dev" / "news.tsv", [news(n) for n in range(4, 9)])
    train = [
        "1\tU1\t11/11/2019 9:05:58 AM\tN0 N1\tN2-1 N3-0",
        "2\tU1\t11/12/2019 12:05:58 PM\tN0 N1\tN3-1 N4-0 N5-0",
        "3\tU2\t11/13/2019 12:00:00 AM\t\tN1-1 N5-1",
    ]
    dev = [
        "1\tU1\t11/15/2019 8:55:22 PM\tN0 N1 N2\tN8-1 N0-1",
        "2\tU3\t11/15/2019 8:55:22 AM\tN7\tN8 N2",
    ]
    makers.write(folder / "MINDsmall_train" / "behaviors.tsv", train)
    makers.write(folder / "MINDsmall_dev" / "behaviors.tsv", dev)


def test_mind(tmp_path: Path) -> None:
    mind(tmp_path / "raw")
    report = prepare("mind", tmp_path / "raw", "d", tmp_path, k_core=0, split="1:1:1")
    folder = tmp_path / "d"
    inter = together(folder)
    times = {
        (u, i): pd.Timestamp(float(t), unit="s").isoformat(sep=" ")
        for u, i, t in zip(inter["user_id"], inter["item_id"], inter["timestamp"])
    }
    assert times == {
        ("U1", "N1"): "2019-10-12 00:00:01",  # of the history
        ("U1", "N2"): "2019-11-11 09:05:58",  # clicked, though the other part has it in its history
        ("U1", "N3"): "2019-11-12 12:05:58",  # shown in vain before
        ("U1", "N8"): "2019-11-15 20:55:22",
        ("U1", "N0"): "2019-11-15 20:55:22",  # of the history, and clicked again
        ("U2", "N1"): "2019-11-13 00:00:00",
        ("U2", "N5"): "2019-11-13 00:00:00",
        ("U3", "N7"): "2019-10-12 00:00:00",  # the test part does not say what was clicked
    }
    # The history is read once for each user and history, and not in every line.
    assert report.read == 7 + 2 + 3 + 1 - 1
    assert [f.name for f in report.faults] == [
        "MINDsmall_dev/behaviors.tsv", "MINDsmall_train/behaviors.tsv",
        "MINDsmall_dev/news.tsv", "MINDsmall_train/news.tsv",
    ]  # fmt: skip
    assert item(folder, "N1") == {
        "title": 'The "1" Brands',
        "description": "Shop it.",
        "categories": "sports, golf",
    }
    assert report.coverage["item texts"].covered == report.items


def test_faults_of_mind(tmp_path: Path) -> None:
    mind(tmp_path / "raw")
    path = tmp_path / "raw" / "MINDsmall_train" / "behaviors.tsv"
    bad = {
        "fewer than 5 fields": "9\tU9\t11/11/2019 9:05:58 AM\tN0",
        "the time is no date": "9\tU9\t2019-11-11\tN0\tN1-1",
        "an impression that is neither -0 nor -1": "9\tU9\t11/11/2019 9:05:58 AM\t\tN1-2",
        "no user": "9\t\t11/11/2019 9:05:58 AM\t\tN1-1",
        "an item id that RecBole would lose": "9\tU9\t11/11/2019 9:05:58 AM\tnull\tN1-1",
    }
    path.write_text(path.read_text() + "".join(line + "\n" for line in bad.values()))
    report = prepare("mind", tmp_path / "raw", "d", tmp_path, k_core=0, split="1:1:1")
    assert {k: f.first for k, f in report.faults[1].found.items()} == {
        kind: f"MINDsmall_train/behaviors.tsv:{n + 4}" for n, kind in enumerate(bad)
    }
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"no behaviors\.tsv"):
        prepare("mind", tmp_path / "none", "d", tmp_path / "o")


# -- all of them ----------------------------------------------------------------------------------


def amazon_parquet(folder: Path) -> None:
    records = makers.amazon(folder.parent / "json", 2023, n=N, users=USERS, items=ITEMS)
    as_parquet(records, folder)


@pytest.mark.parametrize(
    ("source", "write"),
    [("movielens", movielens), ("goodreads", goodreads), ("amazon", amazon_parquet)],
)
def test_what_is_prepared_can_be_profiled(
    tmp_path: Path, source: str, write: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "raw")
    run(source, tmp_path / "raw", tmp_path)
    asked = ["profile", "--dataset=d", f"--data-path={tmp_path}", "--profiler=template"]
    assert main(asked) == 0
    lines = (tmp_path / "d" / "d.userprofile.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == len(set(together(tmp_path / "d")["user_id"]))

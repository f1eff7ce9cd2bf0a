from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_darec.cli.main import main
from recbole_darec.data.splits import ratio_split
from recbole_darec.errors import DataError, OptionError, UserError
from recbole_darec.sources.raw import prepare

from . import makers

PARTS = ("train", "valid", "test")


def table(path: Path) -> pd.DataFrame:
    """Read as RecBole does: everything as text, pandas' defaults, the Python engine."""
    frame = pd.read_csv(path, delimiter="\t", dtype=str, engine="python", encoding="utf-8")
    return frame.rename(columns=lambda column: column.partition(":")[0])


def parts(folder: Path) -> dict[str, pd.DataFrame]:
    return {part: table(folder / f"{folder.name}.{part}.inter") for part in PARTS}


def together(folder: Path) -> pd.DataFrame:
    return pd.concat(parts(folder).values(), ignore_index=True)


def reviews(folder: Path) -> list[dict]:
    path = folder / f"{folder.name}.reviews.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def naive_core(found: set[tuple[str, str]], k: int) -> set[tuple[str, str]]:
    """Take out one user or item at a time."""
    found = set(found)
    while True:
        users, items = Counter(u for u, _ in found), Counter(i for _, i in found)
        gone = [p for p in found if users[p[0]] < k or items[p[1]] < k]
        if not gone:
            return found
        found.discard(gone[0])


def naive(records: list[dict], k: int, bar: float = 3) -> dict[tuple[str, str], dict]:
    """The latest of each pair, rated high enough, in the k-core."""
    latest: dict[tuple[str, str], dict] = {}
    for record in records:
        pair = record["reviewerID"], record["asin"]
        if pair not in latest or record["unixReviewTime"] >= latest[pair]["unixReviewTime"]:
            latest[pair] = record
    liked = {pair: record for pair, record in latest.items() if record["overall"] >= bar}
    core = naive_core(set(liked), k)
    return {pair: record for pair, record in liked.items() if pair in core}


def test_amazon_against_a_naive_loop(tmp_path):
    records = makers.amazon(tmp_path / "raw", n=700)
    rng = random.Random(9)
    # people who write again, some with another opinion, in any order
    again = [
        {**r, "overall": float(rng.randint(1, 5)), "unixReviewTime": r["unixReviewTime"] + shift}
        for r in rng.sample(records, 120)
        for shift in rng.sample([-5, 0, 5], 2)
    ]
    records += again
    rng.shuffle(records)
    makers.write(tmp_path / "raw" / "Books.json", records)
    report = prepare("amazon", tmp_path / "raw", "books", tmp_path / "out", k_core=8)
    wanted = naive(records, 8)
    assert 100 < len(wanted) < 500
    folder = tmp_path / "out" / "books"
    found = together(folder)
    pairs = list(zip(found["user_id"], found["item_id"]))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == set(wanted)
    for pair, rating, time in zip(pairs, found["rating"], found["timestamp"]):
        assert float(rating) == wanted[pair]["overall"]
        assert float(time) == wanted[pair]["unixReviewTime"]
    assert {(r["user_id"], r["item_id"]): r["review"] for r in reviews(folder)} == {
        pair: record["reviewText"] for pair, record in wanted.items()
    }
    assert report.read == len(records)
    assert report.duplicates == 240
    assert report.read - report.duplicates - report.below - report.outside == len(wanted)
    assert report.kept == len(wanted)
    assert report.users == found["user_id"].nunique()
    assert report.items == found["item_id"].nunique()
    assert report.density == len(wanted) / report.users / report.items


def test_the_split_is_the_fixed_one_in_file_order(tmp_path):
    makers.amazon(tmp_path / "raw")
    prepare("amazon", tmp_path / "raw", "books", tmp_path, k_core=5, split_seed=7)
    by_part = parts(tmp_path / "books")
    order = {
        (r["user_id"], r["item_id"]): n for n, r in enumerate(reviews(tmp_path / "books"))
    }  # every review here has a text
    label = np.empty(len(order), dtype=int)
    user = [""] * len(order)
    for part, frame in enumerate(by_part.values()):
        rows = [order[pair] for pair in zip(frame["user_id"], frame["item_id"])]
        assert rows == sorted(rows)
        label[rows] = part
        for row, name in zip(rows, frame["user_id"]):
            user[row] = name
    number = {name: n for n, name in enumerate(dict.fromkeys(user))}
    codes = np.array([number[name] for name in user])
    assert label.tolist() == ratio_split(codes, len(codes), (3, 1, 1), 7).tolist()


@pytest.mark.parametrize("edition", [2014, 2018, 2023])
@pytest.mark.parametrize("pack", [False, True])
def test_amazon_editions(tmp_path, edition, pack):
    makers.amazon(tmp_path / "raw" / "Books", edition, pack=pack)
    report = prepare("amazon", tmp_path / "raw", "books", tmp_path, k_core=4)
    items = table(tmp_path / "books" / "books.item").fillna("")
    first = items.set_index("item_id").loc["B000000003"]
    assert first["title"].startswith("The ")
    assert first["title"].endswith(" book")
    assert first["categories"] == (
        "Books, Fiction & More, Crime" if edition == 2014 else "Books, Fiction & More"
    )
    assert first["brand"] == ("" if edition == 2014 else "Jane Doe")
    assert first["price"] == {2014: "7.5", 2018: "$7.50", 2023: ""}[edition]
    assert first["features"] == ("hardcover signed" if edition == 2023 else "")
    if edition == 2018:
        assert "<b>" not in first["description"]
        assert " & " in first["description"]
    assert report.coverage["item title"].covered == report.items == len(items)
    found = together(tmp_path / "books")
    assert set(found["item_id"]) == set(items["item_id"])
    assert found["timestamp"].astype(float).between(1.4e9, 1.5e9 + 1).all()
    assert report.faults[0].found == {}


def test_the_yaml_and_recbole(tmp_path):
    """RecBole itself reads interactions and texts, and finds every character again."""
    makers.steam(tmp_path / "raw")
    prepare("steam", tmp_path / "raw", "games", tmp_path, k_core=5)
    settings = yaml.safe_load((tmp_path / "games" / "games.yaml").read_text())
    assert settings["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert settings["benchmark_filename"] == list(PARTS)

    from recbole_darec.recbole_compat import reconcile

    reconcile()
    from recbole.config import Config
    from recbole.data import create_dataset

    config = Config(
        model="BPR",
        dataset="games",
        config_dict={
            "data_path": str(tmp_path),
            **settings,
            "load_col": {"inter": settings["load_col"]["inter"], "item": ["item_id", "title"]},
        },
    )
    dataset = create_dataset(config)
    found = together(tmp_path / "games")
    assert dataset.inter_num == len(found)
    users = set(dataset.field2id_token["user_id"][1:])
    assert users == set(found["user_id"])
    assert '"Ünï" 0' in users
    title = dataset.item_feat["title"][dataset.token2id("item_id", "3")]
    assert [dataset.field2id_token["title"][t] for t in title] == ["Lost", "Summoner", "Kitty"]


def test_steam(tmp_path):
    makers.steam(tmp_path / "raw", pack=True)
    report = prepare("steam", tmp_path / "raw", "games", tmp_path, k_core=5)
    assert report.min_rating is None
    assert report.below == 0
    folder = tmp_path / "games"
    assert list(table(folder / "games.train.inter").columns) == ["user_id", "item_id", "timestamp"]
    game = table(folder / "games.item").set_index("item_id").loc["3"]
    assert game["categories"] == "Action, Indie, Strategy"
    assert game["developer"] == game["publisher"] == "Kotoshiro"
    assert game["year"] == "2018"
    assert game["features"] == "Single-player, Full controller support"
    assert "Positive" not in (folder / "games.item").read_text("utf-8")
    review = reviews(folder)[0]
    assert review["review"].endswith(' it\'s "great" 😀')
    assert review["user_id"].startswith('"Ünï" ')
    with pytest.raises(OptionError, match="no ratings"):
        prepare("steam", tmp_path / "raw", "other", tmp_path, min_rating=3)


def test_australian_users(tmp_path):
    rng = random.Random(0)
    by_user: dict[int, list] = {}
    for user, item in makers.pairs(6, 20, 15, 180):
        review = {"funny": "", "posted": "Posted July 15.", "item_id": str(item)}
        by_user.setdefault(user, []).append({**review, "review": makers.words(rng, 4)})
    lines = [
        repr({"user_id": f"7656{user}", "user_url": "x", "reviews": found})
        for user, found in by_user.items()
    ]
    makers.write(tmp_path / "raw" / "australian_user_reviews.json", lines)
    report = prepare("steam", tmp_path / "raw", None, tmp_path, k_core=0)
    assert report.kept == report.read == report.reviews == 180
    assert report.faults[0].lines == len(by_user)
    frame = together(tmp_path / "steam")
    assert list(frame.columns) == ["user_id", "item_id"]
    wanted = {(f"7656{u}", r["item_id"]): r["review"] for u, rs in by_user.items() for r in rs}
    assert {(r["user_id"], r["item_id"]): r["review"] for r in reviews(tmp_path / "steam")} == (
        wanted
    )


@pytest.mark.parametrize("prefix", ["", "yelp_academic_dataset_"])
def test_yelp(tmp_path, prefix):
    makers.yelp(tmp_path / "raw", prefix=prefix)
    prepare("yelp", tmp_path / "raw", "y", tmp_path, k_core=5)
    business = table(tmp_path / "y" / "y.item").iloc[0]
    assert business["title"].startswith("Joe's ")
    assert business["title"].endswith(" Café")
    assert business["city"] == "Montréal"
    assert business["state"] == "QC"
    assert business["categories"] == "Gastropubs, Food"
    assert business["attributes"] == "WiFi: free, BikeParking, BusinessParking: street"
    user = table(tmp_path / "y" / "y.user").iloc[0]
    assert (user["name"], user["member_since"]) == ("Zoé", "2013")
    time = float(table(tmp_path / "y" / "y.train.inter")["timestamp"][0])
    assert time % 86400 == 18 * 3600 + 37 * 60 + 21
    assert "\n" not in reviews(tmp_path / "y")[0]["review"]


def test_movielens_100k(tmp_path):
    makers.movielens_100k(tmp_path / "raw" / "ml-100k")
    report = prepare("movielens", tmp_path / "raw", None, tmp_path, k_core=5)
    folder = tmp_path / "movielens"
    assert report.reviews is None
    assert sorted(path.name for path in folder.iterdir()) == report.files
    assert not (folder / "movielens.reviews.jsonl").exists()
    movies = table(folder / "movielens.item").set_index("item_id")
    assert movies.loc["1"].tolist() == ["Misérables 0, Les", "1995", "Action, Drama"]
    user = table(folder / "movielens.user").iloc[0]
    assert user.tolist()[1:] == ["24", "male", "technician", "85711"]
    assert float(together(folder)["rating"].astype(float).min()) == 3


def test_movielens_1m(tmp_path):
    makers.movielens_1m(tmp_path / "raw")
    prepare("movielens", tmp_path / "raw", "ml", tmp_path, k_core=5, min_rating=1)
    movies = table(tmp_path / "ml" / "ml.item").set_index("item_id")
    assert movies.loc["2"].tolist() == ["Café 1: Part 2", "2000", "Comedy, Sci-Fi"]
    user = table(tmp_path / "ml" / "ml.user").iloc[0]
    assert user.tolist()[1:] == ["25-34", "female", "programmer", "48067-0123"]
    assert float(together(tmp_path / "ml")["rating"].astype(float).min()) == 1


def test_the_packaged_ml_100k_comes_back(tmp_path):
    """RecBole's files, turned back into raw ones, give every pair rated 3 or more."""
    import recbole

    packaged = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    if not packaged.is_dir():
        pytest.skip("this RecBole carries no ml-100k")
    raw = tmp_path / "raw"
    raw.mkdir()
    inter = table(packaged / "ml-100k.inter")
    lines = ("\t".join(row) + "\n" for row in inter.itertuples(index=False, name=None))
    (raw / "u.data").write_text("".join(lines))
    movies = table(packaged / "ml-100k.item").fillna("")
    genres = sorted({genre for cell in movies["class"] for genre in cell.split()})
    with (raw / "u.item").open("w", encoding="latin-1") as file:
        for item, title, year, cell in movies.itertuples(index=False, name=None):
            flags = "|".join(str(int(genre in cell.split())) for genre in genres)
            file.write(f"{item}|{title} ({year})|01-Jan-{year}||http://x|{flags}\n")
    (raw / "u.genre").write_text("".join(f"{name}|{n}\n" for n, name in enumerate(genres)))
    report = prepare("movielens", raw, "ml", tmp_path, k_core=0)
    assert report.read == len(inter) == 100_000
    liked = inter[inter["rating"].astype(float) >= 3]
    found = together(tmp_path / "ml")
    assert set(zip(found["user_id"], found["item_id"])) == set(
        zip(liked["user_id"], liked["item_id"])
    )
    assert report.faults[0].found == report.faults[1].found == {}
    assert report.lacking == ["user"]
    toy = table(tmp_path / "ml" / "ml.item").set_index("item_id").loc["1"]
    assert toy.tolist() == ["Toy Story", "1995", "Animation, Children's, Comedy"]


FAULTS = {
    "not JSON": "{",
    "not UTF-8": None,
    "no 'reviewerID'": None,
    "no 'asin'": makers.amazon_2018("A", None, 5.0, 1, ""),
    "no 'overall'": makers.amazon_2018("A", "B", None, 1, ""),
    "'overall' is no number": makers.amazon_2018("A", "B", "5.0", 1, ""),
    "'overall' is not finite": makers.amazon_2018("A", "B", float("nan"), 1, ""),
    "'unixReviewTime' is not finite": makers.amazon_2018("A", "B", 5.0, 10**400, ""),
    "'asin' is no text": makers.amazon_2018("A", ["B"], 5.0, 1, ""),
    "a user id that RecBole would lose": makers.amazon_2018("NA", "B", 5.0, 1, ""),
    "an item id that RecBole would lose": makers.amazon_2018("A", "B\tC", 5.0, 1, ""),
    "not a JSON object": "[1]",
}


def test_faults_are_counted_and_skipped(tmp_path):
    records = makers.amazon(tmp_path / "raw", n=900)
    clean = prepare("amazon", tmp_path / "raw", "books", tmp_path / "clean", k_core=5)
    lines = [json.dumps(record).encode() for record in records]
    bad = {
        **{k: (v if isinstance(v, str) else json.dumps(v)).encode() for k, v in FAULTS.items()},
        "not UTF-8": lines[0].replace(b"Heavenly", b"\xff\xfe"),
        "no 'reviewerID'": lines[0].replace(b'"reviewerID"', b'"reviewerID": null, "x"'),
    }
    for place, line in enumerate(bad.values()):
        lines[50 * place : 50 * place] = [line, line]
    lines.insert(300, b"")
    lines[0] = b"\xef\xbb\xbf" + lines[0]
    (tmp_path / "raw" / "Books.json").write_bytes(b"\r\n".join(lines))
    report = prepare(
        "amazon", tmp_path / "raw", "books", tmp_path / "out", k_core=5, max_faults=0.1
    )
    found = report.faults[0].found
    assert {kind: fault.times for kind, fault in found.items()} == dict.fromkeys(bad, 2)
    for place, kind in enumerate(bad):
        assert found[kind].first == f"Books.json:{50 * place + 1 + (place > 5)}", kind
    mended = {kind: fault.times for kind, fault in report.faults[0].mended.items()}
    assert mended == {"CRLF line end": len(lines) - 1, "byte order mark": 1, "empty line": 1}
    # what is left is what a file without them gives
    assert tree(tmp_path / "out" / "books") == tree(tmp_path / "clean" / "books")
    assert report.read == clean.read == 900
    shown = report.table()
    for kind in bad:
        assert f"skipped: {kind}" in shown


def test_too_many_faults_stop_and_write_nothing(tmp_path):
    records = makers.amazon(tmp_path / "raw", n=900)
    lines = [json.dumps(record) for record in records]
    lines[100:100] = ["nonsense"] * 10
    makers.write(tmp_path / "raw" / "Books.json", lines)
    prepare("amazon", tmp_path / "raw", "fine", tmp_path / "out", k_core=5)  # 10 of 1,000
    lines[500:500] = ["nonsense"]
    makers.write(tmp_path / "raw" / "Books.json", lines)
    before = tree(tmp_path / "out")
    with pytest.raises(DataError, match=r"11 of the first 501 lines.*not JSON.*Books\.json:101"):
        prepare("amazon", tmp_path / "raw", "books", tmp_path / "out", k_core=5)
    assert tree(tmp_path / "out") == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fine"]
    with pytest.raises(DataError):
        prepare("amazon", tmp_path / "raw", "books", tmp_path / "out", k_core=5, max_faults=0)
    prepare("amazon", tmp_path / "raw", "books", tmp_path / "out", k_core=5, max_faults=0.02)


def test_faults_of_the_metadata(tmp_path):
    makers.amazon(tmp_path / "raw")
    lines = makers.amazon_metadata(2018, 30)
    lines[3:3] = ["{", {"title": "without an id"}]
    lines.append({**lines[0], "title": "the same again"})
    makers.write(tmp_path / "raw" / "meta_Books.json", lines[5:] + lines[:5])
    report = prepare("amazon", tmp_path / "raw", "books", tmp_path, k_core=4)
    assert {k: f.times for k, f in report.faults[1].found.items()} == {
        "not JSON": 1,
        "no 'asin'": 1,
    }
    items = table(tmp_path / "books" / "books.item")
    assert items["item_id"].is_unique
    # of two records the first in the file
    assert items.set_index("item_id").loc["B000000000", "title"] == "the same again"
    makers.write(tmp_path / "raw" / "meta_Books.json", [lines[0]] + ["["] * 11)
    with pytest.raises(DataError, match="meta_Books"):
        prepare("amazon", tmp_path / "raw", "more", tmp_path / "out", k_core=4)
    assert not (tmp_path / "out").exists()


def test_metadata_that_is_nested_without_end(tmp_path):
    makers.amazon(tmp_path / "raw")
    lines = makers.amazon_metadata(2018, 30)
    deep = [
        f'{{"asin": "B", "title": {"[" * depth}{"]" * depth}}}' for depth in range(100, 1100, 50)
    ]
    makers.write(tmp_path / "raw" / "meta_Books.json", [lines[0], *deep, *lines[1:]])
    report = prepare("amazon", tmp_path / "raw", "b", tmp_path, k_core=4, max_faults=0.1)
    assert report.coverage["item texts"].covered == report.items
    assert set(report.faults[1].found) <= {"not JSON", "nested too deeply"}


def test_items_without_a_record_are_told(tmp_path):
    makers.amazon(tmp_path / "raw")
    makers.write(tmp_path / "raw" / "meta_Books.json", makers.amazon_metadata(2018, 30)[:5])
    report = prepare("amazon", tmp_path / "raw", "books", tmp_path, k_core=4)
    assert report.coverage["item texts"].covered == 5
    assert "none for B0000000" in report.table()
    makers.write(tmp_path / "raw" / "meta_Books.json", [{"asin": "other", "title": "x"}])
    report = prepare("amazon", tmp_path / "raw", "none", tmp_path, k_core=4)
    assert not (tmp_path / "none" / "none.item").exists()
    (tmp_path / "raw" / "meta_Books.json").unlink()
    report = prepare("amazon", tmp_path / "raw", "without", tmp_path, k_core=4)
    assert "item texts" in report.table()
    assert "no raw file" in report.table()


def test_texts_come_back_from_the_readers_whole(tmp_path):
    """Quotes, tabs, breaks, words that read as missing, and texts longer than csv can take."""
    texts = {
        "quotes": '"He said ""no""", \'twas',
        "breaks": "a\tb\r\nc\u2028d\x85e\x00f\x1bg",
        "missing": "NA",
        "nothing": "null",
        "pair": "\ud83d\ude00 and a half \ud83d.",
        "long": "x" * 300_000,
        "tags": "I <3 this > that <br/><a href='x'>link</a> &lt;b&gt; &#34;q&#34;",
        "hash": "# no comment",
        "blank": " \t ",
    }
    wanted = {
        **texts,
        "breaks": "a b c d e f g",
        "pair": "😀 and a half .",
        "long": "x" * 100_000,
        "tags": 'I <3 this > that link <b> "q"',
        "blank": "",
    }
    lines = [
        makers.amazon_2018(f"u{u}", item, 5.0, 1, text)
        for item, text in texts.items()
        for u in range(5)
    ]
    makers.write(tmp_path / "raw" / "reviews.json", lines)
    makers.write(
        tmp_path / "raw" / "meta.json", [{"asin": k, "title": t} for k, t in texts.items()]
    )
    report = prepare("amazon", tmp_path / "raw", "t", tmp_path, k_core=0)
    items = table(tmp_path / "t" / "t.item").fillna("").set_index("item_id")["title"]
    assert {key: text.strip() for key, text in items.items()} == wanted
    assert report.cut == 1
    found = {r["item_id"]: r["review"] for r in reviews(tmp_path / "t")}
    # a review is no cell: it is not cut; one without text falls back on its summary
    assert found.pop("blank", None) is None
    assert found == {**{k: v for k, v in wanted.items() if v}, "long": "x" * 300_000}
    assert report.reviews == report.kept - 5


def test_a_review_without_text_has_its_summary(tmp_path):
    lines = [makers.amazon_2018(f"u{n}", f"i{m}", 5, 1, "") for n in range(5) for m in range(5)]
    del lines[0]["summary"]
    del lines[1]["reviewText"]
    makers.write(tmp_path / "raw" / "r.json", lines)
    report = prepare("amazon", tmp_path / "raw", "r", tmp_path, k_core=0)
    assert report.kept == 25
    assert {r["review"] for r in reviews(tmp_path / "r")} == {"Heavenly Highway Hymns"}
    assert report.reviews == 24


def test_damaged_and_missing_files(tmp_path):
    raw = tmp_path / "raw"
    makers.amazon(raw, pack=True)
    whole = (raw / "Books.json.gz").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-400] + bytes(400)):
        (raw / "Books.json.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"Books\.json\.gz.*cut off or damaged"):
            prepare("amazon", raw, "b", tmp_path / "out")
    # gzip is told by its content, not by its name
    (raw / "Books.json.gz").write_bytes(gzip.decompress(whole))
    prepare("amazon", raw, "b", tmp_path / "plain", k_core=4)
    (tmp_path / "raw" / "Books.json.gz").rename(tmp_path / "raw" / "Books.json")
    (raw / "Books.json").write_bytes(whole)
    prepare("amazon", raw, "b", tmp_path / "packed", k_core=4)
    for name in ("b.train.inter", "b.item", "b.reviews.jsonl"):
        assert (tmp_path / "plain/b" / name).read_bytes() == (
            tmp_path / "packed/b" / name
        ).read_bytes()
    (raw / "Books_5.json").write_bytes(whole)
    with pytest.raises(DataError, match=r"several files with reviews.*--reviews"):
        prepare("amazon", raw, "b", tmp_path / "out")
    prepare("amazon", raw, "b", tmp_path / "named", reviews=str(raw / "Books_5.json"), k_core=4)
    for source in ("yelp", "steam", "movielens"):
        with pytest.raises(DataError, match="neither"):
            prepare(source, raw, "b", tmp_path / "out")
    with pytest.raises(DataError, match="no folder"):
        prepare("amazon", tmp_path / "nowhere", "b", tmp_path / "out")
    with pytest.raises(DataError, match="no file"):
        prepare("amazon", raw, "b", tmp_path / "out", reviews="nothing.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Amazon reviews"):
        prepare("amazon", tmp_path / "empty", "b", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_little_left(tmp_path):
    makers.amazon(tmp_path / "raw")
    with pytest.raises(DataError, match=r"too little is left.*outside the 100-core.*--k-core"):
        prepare("amazon", tmp_path / "raw", "b", tmp_path / "out", k_core=100)
    (tmp_path / "raw" / "Books.json").write_text("{\n" * 5)
    with pytest.raises(DataError, match="not JSON"):
        prepare(
            "amazon",
            tmp_path / "raw",
            "b",
            tmp_path / "out",
            reviews=str(tmp_path / "raw" / "Books.json"),
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_core": -1}, "k-core"),
        ({"split": "3:1"}, "3:1:1"),
        ({"split_seed": -1}, "split-seed"),
        ({"max_faults": 2}, "max-faults"),
        ({"min_rating": float("nan")}, "min-rating"),
        ({"users": "x"}, "takes no --users"),
        ({"dataset": "ml-100k"}, "another --dataset"),
        ({"source": "amazn"}, "did you mean 'amazon'"),
    ],
)
def test_bad_options(tmp_path, options, message):
    makers.amazon(tmp_path / "raw")
    with pytest.raises(UserError, match=message):
        prepare(**{"source": "amazon", "raw": tmp_path / "raw", "out": tmp_path / "o", **options})
    assert not (tmp_path / "o").exists()


def test_overwrite(tmp_path):
    makers.amazon(tmp_path / "raw")
    prepare("amazon", tmp_path / "raw", "b", tmp_path, k_core=4)
    before = tree(tmp_path / "b")
    with pytest.raises(DataError, match="--overwrite"):
        prepare("amazon", tmp_path / "raw", "b", tmp_path, k_core=4)
    prepare("amazon", tmp_path / "raw", "b", tmp_path, k_core=4, overwrite=True)
    assert tree(tmp_path / "b") == before
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        prepare("amazon", tmp_path / "raw", "b", tmp_path, k_core=4, overwrite=True)


def test_the_output_does_not_depend_on_the_process(tmp_path, run_cli):
    """Codes come from keyed hashes; what is written must not show it."""
    makers.yelp(tmp_path / "raw")
    for seed in ("1", "2"):
        done = run_cli(
            ["prepare", "yelp", "--raw", "raw", "--k-core", "5", "--out", seed],
            tmp_path,
            {"PYTHONHASHSEED": seed},
        )
        assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_command_line(tmp_path, capsys):
    makers.movielens_100k(tmp_path / "raw")
    arguments = ["prepare", "movielens", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path)]
    assert main([*arguments, "--k-core", "5", "--max-faults", "0.5%"]) == 0
    out = capsys.readouterr().out
    for word in (
        "movielens ->",
        "u.data: lines",
        "rated below 3",
        "5-core",
        "density",
        "item year",
    ):
        assert word in out
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--max-faults", "lots"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["prepare", "steam", "--raw", "x", "--min-rating", "3"]) == 2
    assert main(["prepare", "movielens", "--raw", "x", "--reviews", "y"]) == 2


def test_memory_is_bound_by_what_is_kept_not_by_the_texts(tmp_path):
    """The peak grows by at most twice what the run keeps, whatever the texts weigh."""

    def peak(n: int) -> tuple[int, int, int]:
        raw = tmp_path / str(n)
        makers.amazon(raw, n=n, users=n // 20, items=n // 40 + 50, text_words=60)
        tracemalloc.start()
        try:
            report = prepare("amazon", raw, "b", tmp_path / f"out{n}", k_core=5)
            return (
                tracemalloc.get_traced_memory()[1],
                report.held,
                (raw / "Books.json").stat().st_size,
            )
        finally:
            tracemalloc.stop()

    peak(1_000)  # what is imported and compiled once
    small, large = peak(3_000), peak(12_000)
    assert large[2] - small[2] > 10 * (large[1] - small[1])  # the texts would show
    assert large[0] - small[0] <= 2 * (large[1] - small[1])

from __future__ import annotations

import gzip
import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_darec.errors import DataError, MissingExtraError, UserError
from recbole_darec.sources.importers.table import import_table

from .test_import_rlmrec import check_recbole, parse, tree

SPLIT = """user_id,item_id,split
u1,i1,train
u1,i2,valid
u1,i3,test
007,i1,Train
007,1.0,val
u1,i1,train
007,i3,validation
"""


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def profiles(path, **texts):
    lines = [json.dumps({"id": key, "profile": text}) for key, text in texts.items()]
    return write(path, "\n".join(lines) + "\n")


def inter(folder, part=""):
    name = folder.name
    path = folder / (f"{name}.{part}.inter" if part else f"{name}.inter")
    frame = pd.read_csv(path, sep="\t", dtype=str)
    return [tuple(row) for row in frame.to_numpy()]


def test_a_given_split(tmp_path):
    report = import_table("x", tmp_path / "out", write(tmp_path / "x.csv", SPLIT))
    folder = tmp_path / "out" / "x"
    assert tree(folder) == ["x.test.inter", "x.train.inter", "x.valid.inter", "x.yaml"]
    assert inter(folder, "train") == [("u1", "i1"), ("007", "i1")]
    assert inter(folder, "valid") == [("u1", "i2"), ("007", "1.0"), ("007", "i3")]
    assert inter(folder, "test") == [("u1", "i3")]
    assert report.interactions == {"train": 2, "valid": 3, "test": 1}
    assert report.duplicates == 1
    assert (report.users, report.items) == (2, 4)
    assert (report.cold_users, report.cold_items) == (0, 3)


def test_numbers_and_the_yaml(tmp_path):
    content = "timestamp,user_id,extra,item_id,rating\n1e9,u,?,i,4.5\n1000000001,u,,j,3\n"
    report = import_table("x", tmp_path, write(tmp_path / "x.csv", content))
    folder = tmp_path / "x"
    head = (folder / "x.inter").read_text().splitlines()[0]
    assert head == "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    assert inter(folder) == [("u", "i", "4.5", "1000000000.0"), ("u", "j", "3.0", "1000000001.0")]
    settings = yaml.safe_load((folder / "x.yaml").read_text())
    assert settings["load_col"] == {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    assert settings["benchmark_filename"] is None
    assert settings["TIME_FIELD"] == "timestamp"
    assert report.interactions == {"all": 2}


def test_without_a_split_repeats_at_another_time_stay(tmp_path):
    content = "user_id,item_id,timestamp\nu,i,1\nu,i,2\nu,i,1\n"
    assert import_table("x", tmp_path, write(tmp_path / "x.csv", content)).duplicates == 1
    assert inter(tmp_path / "x") == [("u", "i", "1.0"), ("u", "i", "2.0")]
    content = "user_id,item_id\nu,i\nu,i\n"
    assert import_table("y", tmp_path, write(tmp_path / "y.csv", content)).duplicates == 1


def table(users=30, items=40, seed=0):
    rng = np.random.default_rng(seed)
    chosen = rng.random((users, items)) < 0.3
    chosen[:, 0] = True
    chosen[0, 1:] = False  # a user with one interaction
    user, item = np.nonzero(chosen)
    return pd.DataFrame({"user_id": [f"u{n}" for n in user], "item_id": [f"i{n}" for n in item]})


def test_a_split_by_ratio(tmp_path):
    frame = table()
    frame.to_csv(tmp_path / "x.csv", index=False)
    report = import_table("x", tmp_path / "a", tmp_path / "x.csv", split="3:1:1")
    parts = {p: inter(tmp_path / "a" / "x", p) for p in ("train", "valid", "test")}
    everything = sorted(row for rows in parts.values() for row in rows)
    assert everything == sorted(frame.itertuples(index=False, name=None))
    for user, total in frame["user_id"].value_counts().items():
        mine = [sum(row[0] == user for row in parts[p]) for p in parts]
        assert sum(mine) == total
        assert mine[0] >= 1
        if total >= 5:
            assert mine[1:] == [total // 5] * 2
    assert report.cold_users == 0

    # neither the order of the rows nor repeated ones matter; the seed does
    shuffled = pd.concat([frame, frame[:9]]).sample(frac=1, random_state=1)
    shuffled.to_csv(tmp_path / "y.csv", index=False)
    again = import_table("x", tmp_path / "b", tmp_path / "y.csv", split="3:1:1")
    assert again.duplicates == 9
    for part, rows in parts.items():
        assert sorted(inter(tmp_path / "b" / "x", part)) == sorted(rows)
    import_table("x", tmp_path / "c", tmp_path / "x.csv", split="3:1:1", split_seed=1)
    assert sorted(inter(tmp_path / "c" / "x", "test")) != sorted(parts["test"])


def test_profiles_and_matrices(tmp_path):
    matrix = np.arange(6, dtype=np.float16).reshape(3, 2)
    np.save(tmp_path / "u.npy", matrix)
    np.save(tmp_path / "i.npy", np.asfortranarray(np.arange(8.0).reshape(4, 2)))
    report = import_table(
        "x",
        tmp_path / "out",
        write(tmp_path / "x.csv", SPLIT),
        user_profiles=profiles(tmp_path / "u.jsonl", u1="one", u9="nine", **{"007": " "}),
        user_embeddings=tmp_path / "u.npy",
        item_embeddings=tmp_path / "i.npy",
        item_ids=write(tmp_path / "i.txt", "i3\ni1\ni2\n1.0\n"),
    )
    folder = tmp_path / "out" / "x"
    lines = (folder / "x.userprofile.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["u1", "u9"]
    assert not (folder / "x.itemprofile.jsonl").exists()
    found = np.load(folder / "x.useremb.npy")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, matrix)
    # an empty profile has no text, but keeps its row
    assert (folder / "x.useremb.tokens").read_text().split("\n") == ["u1", "u9", "007", ""]
    assert (folder / "x.itememb.tokens").read_text().split("\n") == ["i3", "i1", "i2", "1.0", ""]
    found = np.load(folder / "x.itememb.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(8.0).reshape(4, 2))
    assert report.coverage["user profiles"].missing == ["007"]
    assert report.coverage["user embeddings"].covered == 2
    assert report.coverage["item embeddings"].covered == 4
    assert "item profiles" not in report.coverage


def test_ids_from_a_file_go_before_the_profiles(tmp_path):
    np.save(tmp_path / "u.npy", np.ones((2, 2)))
    import_table(
        "x",
        tmp_path,
        write(tmp_path / "x.csv", SPLIT),
        user_profiles=profiles(tmp_path / "u.jsonl", u1="one"),
        user_embeddings=tmp_path / "u.npy",
        user_ids=write(tmp_path / "ids.txt", "007\nu1\n"),
    )
    assert (tmp_path / "x" / "x.useremb.tokens").read_text() == "007\nu1\n"


# -- forms of the table ---------------------------------------------------------------------------


def test_separators_quotes_and_compression(tmp_path):
    content = SPLIT.replace(",", "\t").encode()
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress(content))
    quoted = '\ufeff"user_id", "item_id", "split"\n'
    quoted += "".join(
        ", ".join(f'"{field}"' for field in line.split(",")) + "\r\n"
        for line in SPLIT.splitlines()[1:]
    )
    (tmp_path / "y.CSV").write_bytes(quoted.encode())
    for name in ("x.tsv.gz", "y.CSV"):
        import_table("x", tmp_path / name[0], tmp_path / name)
        assert inter(tmp_path / name[0] / "x", "valid") == [
            ("u1", "i2"),
            ("007", "1.0"),
            ("007", "i3"),
        ]


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "user_id": [2**60 + 1, 7, 7],
            "item_id": pd.Categorical(["a", "b", "a"]),
            "rating": np.array([1, 2, 3], dtype=np.int8),
            "timestamp": pd.to_datetime([0, 1500, 86_400_000], unit="ms"),
            "unused": [None, 1.5, 2],
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    import_table("x", tmp_path, tmp_path / "x.parquet")
    assert inter(tmp_path / "x") == [
        (str(2**60 + 1), "a", "1.0", "0.0"),
        ("7", "b", "2.0", "1.5"),
        ("7", "a", "3.0", "86400.0"),
    ]
    # whole numbers that pandas has turned into floats are ids, others are not
    pd.DataFrame({"user_id": [1.0, 2.0], "item_id": ["a", "b"]}).to_parquet(tmp_path / "y.parquet")
    import_table("y", tmp_path, tmp_path / "y.parquet")
    assert inter(tmp_path / "y") == [("1", "a"), ("2", "b")]
    for users, message in (
        ([1.0, 2.5], "row 2: the user_id is no whole number"),
        ([1.0, None], "row 2: no user_id"),
        ([[1], [2]], "holds list"),
    ):
        pd.DataFrame({"user_id": users, "item_id": ["a", "b"]}).to_parquet(tmp_path / "z.parquet")
        with pytest.raises(DataError, match=message):
            import_table("z", tmp_path, tmp_path / "z.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "z.parquet").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"z\.parquet cannot be read as Parquet"):
        import_table("z", tmp_path, tmp_path / "z.parquet")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"pip install 'recbole-darec\[parquet\]'"):
        import_table("x", tmp_path, tmp_path / "x.parquet")


# -- bad input ------------------------------------------------------------------------------------


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


HEAD = "user_id,item_id\n"
TWO = HEAD + "u,i\nv,j\n"
NAN_ROW = np.array([[1, 2], [np.inf, 1]])

# label -> (files by name, what the one line must say); x.csv, u.jsonl, u.npy and u.txt are given
# as --interactions, --user-profiles, --user-embeddings and --user-ids where they are there
BAD = {
    "no table": ({}, r"x\.csv does not exist"),
    "empty table": ({"x.csv": ""}, "no column 'user_id'"),
    "only a header": ({"x.csv": HEAD}, "no interactions"),
    "no header": ({"x.csv": "u,i\nv,j\n"}, "no column 'user_id'"),
    "a misspelt column": ({"x.csv": "userid,item_id\nu,i\n"}, "did you mean 'userid'"),
    "a column twice": ({"x.csv": "user_id,item_id,item_id\nu,i,j\n"}, "names a column twice"),
    "too many fields": ({"x.csv": HEAD + "u,i\nu,i,j\n"}, "cannot be read as a table"),
    "too many fields in each row": ({"x.csv": HEAD + "u,i,j\nv,i,j\n"}, "more fields"),
    "too few fields": ({"x.csv": HEAD + "u,i\nv\n"}, "row 2: "),
    "an empty id": ({"x.csv": HEAD + "u,i\n,j\n"}, "column user_id, row 2: an empty id"),
    "an id that is lost": ({"x.csv": HEAD + "u,i\nNA,j\n"}, "row 2: the id 'NA' reads as missing"),
    "an id with a tab": ({"x.csv": HEAD + 'u,"i\tj"\n'}, "column item_id, row 1: .*control"),
    "an id of two lines": ({"x.csv": HEAD + 'u,"i\nj"\n'}, "column item_id, row 1: .*control"),
    "not UTF-8": ({"x.csv": HEAD.encode() + b"\xff,i\n"}, r"x\.csv"),
    "binary": ({"x.csv": bytes(range(256)) * 9}, r"x\.csv"),
    "an open quote": ({"x.csv": HEAD + 'u,"i\n'}, "cannot be read as a table"),
    "no rating": (
        {"x.csv": "user_id,item_id,rating\nu,i,1\nv,j,\nw,j, \n"},
        "2 of 3 rows have no rating .the first is row 2.: --empty=drop-rows",
    ),
    "no time": (
        {"x.csv": "user_id,item_id,timestamp\nu,i,today\n"},
        "row 1: timestamp 'today' is neither a number nor a time",
    ),
    "a day that is none": (
        {"x.csv": "user_id,item_id,timestamp\nu,i,2026-02-01\nu,j,2026-02-30\n"},
        "row 2: timestamp '2026-02-30' is neither",
    ),
    "times of two forms": (
        {"x.csv": "user_id,item_id,timestamp\nu,i,2026-02-01\nu,j,1770000000\n"},
        "row 1: timestamp '2026-02-01' is no number, and row 2 is one",
    ),
    "a decimal comma": (
        {"x.csv": "user_id;item_id;rating\nu;i;4\nu;j;3,5\n"},
        "row 2: rating '3,5' has a decimal comma: write 3.5",
    ),
    "an id with blanks": (
        {"x.csv": TWO, "u.jsonl": '{"id": " u", "profile": "x"}\n{"id": "v", "profile": "y"}'},
        "1 users have their profiles under another form of their id: 'u' in .*, ' u' among",
    ),
    "an id as a float": (
        {"x.csv": HEAD + "7.0,i\n8,j\n", "u.npy": npy(np.ones((2, 2))), "u.txt": "7\n8\n"},
        "1 users have their embeddings under another form of their id: '7.0' in .*, '7' among",
    ),
    "NaN": ({"x.csv": "user_id,item_id,rating\nu,i,nan\n"}, "row 1: rating 'nan' is no number"),
    "an unknown split": (
        {"x.csv": "user_id,item_id,split\nu,i,train\nv,j,tset\n"},
        "row 2: the split 'tset' .did you mean 'test'",
    ),
    "an empty part": ({"x.csv": "user_id,item_id,split\nu,i,train\nv,j,test\n"}, "no valid rows"),
    "a leak": (
        {"x.csv": SPLIT + "u1,i2,test\n"},
        "1 pairs stand in more than one split .user 'u1', item 'i2': valid, test",
    ),
    "no JSON": ({"x.csv": TWO, "u.jsonl": '{"id": 1, "profile": "x"}\n{'}, "line 2 is no JSON"),
    "JSON without id": ({"x.csv": TWO, "u.jsonl": '{"profile": "x"}'}, "line 1: no 'id'"),
    "an id of half": ({"x.csv": TWO, "u.jsonl": '{"id": 1.5, "profile": "x"}'}, "line 1: no 'id'"),
    "JSON list": ({"x.csv": TWO, "u.jsonl": "[1]"}, "line 1: no 'id'"),
    "no text": ({"x.csv": TWO, "u.jsonl": '{"id": "u", "profile": 3}'}, "line 1: no text under"),
    "deep JSON": ({"x.csv": TWO, "u.jsonl": "[" * 100_000}, "line 1"),
    "a profile twice": (
        {"x.csv": TWO, "u.jsonl": '{"id": 1, "profile": "x"}\n{"id": "1", "profile": "y"}'},
        "row 2: the id '1' stands in row 1 already",
    ),
    "only empty profiles": ({"x.csv": TWO, "u.jsonl": '{"id": 1, "profile": " "}'}, "no profiles"),
    "no profiles": ({"x.csv": TWO, "u.jsonl": "\n"}, r"u\.jsonl has no profiles"),
    "ids without a matrix": ({"x.csv": TWO, "u.txt": "u\n"}, "--user-embeddings, which is not"),
    "a matrix without ids": ({"x.csv": TWO, "u.npy": npy(NAN_ROW)}, "give --user-profiles"),
    "too few ids": (
        {"x.csv": TWO, "u.npy": npy(np.ones((2, 2))), "u.txt": "u\n"},
        r"u\.npy has 2 rows, but .*u\.txt names 1",
    ),
    "an id twice": (
        {"x.csv": TWO, "u.npy": npy(np.ones((2, 2))), "u.txt": "u\nu\n"},
        r"u\.txt, row 2: the id 'u' stands in row 1 already",
    ),
    "an empty line of ids": (
        {"x.csv": TWO, "u.npy": npy(np.ones((2, 2))), "u.txt": "u\n\nv\n"},
        r"u\.txt, row 2: an empty id",
    ),
    "Inf": (
        {"x.csv": TWO, "u.npy": npy(NAN_ROW), "u.txt": "u\nv\n"},
        r"u\.npy: row 1 \(id 'v'\) holds NaN or Inf",
    ),
    "integers": (
        {"x.csv": TWO, "u.npy": npy(np.ones((2, 2), np.int8)), "u.txt": "u\nv\n"},
        "u.npy holds int8, as quantising encoders give: multiply the rows by the encoder's scale",
    ),
    "one dimension": ({"x.csv": TWO, "u.npy": npy(np.ones(2)), "u.txt": "u\nv\n"}, r"u\.npy"),
    "objects": (
        {"x.csv": TWO, "u.npy": npy(np.array([[{}]], object)), "u.txt": "u\n"},
        r"u\.npy .*objects",
    ),
    "a truncated matrix": (
        {"x.csv": TWO, "u.npy": npy(np.ones((2, 2)))[:-1], "u.txt": "u\nv\n"},
        r"u\.npy .*truncated",
    ),
    "no matrix": ({"x.csv": TWO, "u.npy": b"", "u.txt": "u\nv\n"}, r"u\.npy"),
}


@pytest.mark.parametrize("label", BAD)
def test_bad_input_names_file_and_row_and_leaves_nothing(label, tmp_path):
    files, message = BAD[label]
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
    options = {
        option: tmp_path / name
        for option, name in (
            ("user_profiles", "u.jsonl"),
            ("user_embeddings", "u.npy"),
            ("user_ids", "u.txt"),
        )
        if name in files
    }
    with pytest.raises(DataError, match=message) as caught:
        import_table("x", tmp_path / "out", tmp_path / "x.csv", **options)
    assert len(str(caught.value).splitlines()) == 1
    assert tree(tmp_path) == sorted(files)


def test_bad_options(tmp_path):
    path = write(tmp_path / "x.csv", SPLIT)
    for options, message in (
        ({"split": "3:1"}, "three positive numbers"),
        ({"split": "3:1:1"}, "has a split column"),
        ({"split_seed": -1}, "--split-seed"),
        ({"dataset": "ml-100k"}, "packaged"),
        ({"interactions": write(tmp_path / "x.json", "{}")}, "none of .csv, .tsv"),
        ({"interactions": tmp_path}, "does not exist"),
        ({"user_profiles": tmp_path / "absent.jsonl"}, "absent"),
    ):
        with pytest.raises(UserError, match=message):
            import_table(**{"dataset": "x", "out": tmp_path, "interactions": path, **options})
    for name, rows, width in (("u", 1, 3), ("i", 1, 2)):
        np.save(tmp_path / f"{name}.npy", np.ones((rows, width)))
    with pytest.raises(DataError, match=r"3 wide, .* 2"):
        import_table(
            "x",
            tmp_path,
            path,
            user_embeddings=tmp_path / "u.npy",
            item_embeddings=tmp_path / "i.npy",
            user_ids=write(tmp_path / "u.txt", "u1"),
            item_ids=write(tmp_path / "i.txt", "i1"),
        )
    assert not (tmp_path / "x").exists()


def test_a_gzip_that_is_none(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(b"user_id,item_id\nu,i\n")
    with pytest.raises(DataError, match=r"x\.csv\.gz"):
        import_table("x", tmp_path, tmp_path / "x.csv.gz")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(SPLIT.encode() * 1000)[:-30])
    with pytest.raises(DataError, match=r"x\.csv\.gz"):
        import_table("x", tmp_path, tmp_path / "x.csv.gz")


# -- the real data --------------------------------------------------------------------------------


def test_xrec_yelp_by_one_command(shared, tmp_path, capsys):
    source = shared / "data" / "xrec_yelp"
    args = parse(
        "table",
        "--dataset=xrec_yelp",
        f"--out={tmp_path}",
        f"--interactions={source}/interactions.csv",
        f"--user-profiles={source}/user_profiles.jsonl",
        f"--item-profiles={source}/item_profiles.jsonl",
        f"--user-embeddings={source}/user_minilm.npy",
        f"--item-embeddings={source}/item_minilm.npy",
    )
    assert args.handler(args) == 0
    printed = capsys.readouterr().out
    for expected in ("1,874", "2,002", "26,170", "3,139", "3,041", "(100.0 %)", "width 384"):
        assert expected in printed
    folder = tmp_path / "xrec_yelp"
    given = pd.read_csv(source / "interactions.csv")
    for part in ("train", "valid", "test"):
        expected = given[given["split"] == part][["user_id", "item_id"]]
        assert inter(folder, part) == list(expected.itertuples(index=False, name=None))
    for kind in ("user", "item"):
        found = np.load(folder / f"xrec_yelp.{kind}emb.npy")
        np.testing.assert_array_equal(found, np.load(source / f"{kind}_minilm.npy"))
        lines = (source / f"{kind}_profiles.jsonl").read_text().splitlines()
        written = (folder / f"xrec_yelp.{kind}profile.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in written] == [json.loads(line) for line in lines]
        tokens = (folder / f"xrec_yelp.{kind}emb.tokens").read_text().split()
        assert tokens == [json.loads(line)["id"] for line in lines]
    check_recbole(
        tmp_path, "xrec_yelp", (1_874, 2_002, {"train": 26_170, "valid": 3_139, "test": 3_041})
    )

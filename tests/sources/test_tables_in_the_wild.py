"""Tables as others write them: column names, separators, dates, gaps, several files, archives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_darec.cli import main
from recbole_darec.embeddings import read_table
from recbole_darec.errors import DataError, EmbeddingError, some
from recbole_darec.sources.importers.table import import_table

ROWS = [("u1", "i1", 4.5), ("u1", "i2", 3.0), ("u2", "i1", 1.0)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def imported(folder: Path, part: str = "") -> list[tuple[str, ...]]:
    name = f"t.{part}.inter" if part else "t.inter"
    frame = pd.read_csv(folder / "t" / name, sep="\t", dtype=str)
    return [tuple(row) for row in frame.to_numpy()]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_by_other_names(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["userId", "movieId", "stars"])
    path = tmp_path / f"x.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    names = "user_id=userId,item_id=movieId, rating=stars"
    args = ["import", "table", "--dataset=t", f"--out={tmp_path}", f"--interactions={path}"]
    assert main([*args, f"--columns={names}"]) == 0
    assert imported(tmp_path) == [(user, item, str(stars)) for user, item, stars in ROWS]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("item_id=movieId", "no column 'user_id' .did you mean 'userId'.*--columns user_id=NAME"),
        ("user_id=user,item_id=movieId", "no column 'user' for user_id"),
        ("usr=userId", "--columns usr=userId: the columns are user_id, .*did you mean 'user_id'"),
        ("userId", "--columns userId: write user_id=THEIRS"),
        ("user_id=userId,item_id=movieId,rating=score", "no column 'score' for rating"),
    ],
)
def test_a_wrong_name_is_one_line(
    columns: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.csv", "userId,movieId,stars\nu,i,3\n")
    args = ["import", "table", "--dataset=t", f"--out={tmp_path}", f"--interactions={path}"]
    assert main([*args, f"--columns={columns}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert pd.Series([line]).str.contains(message, regex=True).all(), line
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_separator_is_found(separator: str, suffix: str, tmp_path: Path) -> None:
    lines = [("user_id", "item_id", "rating"), *ROWS]
    text = "\n".join(separator.join(map(str, line)) for line in lines)
    import_table("t", tmp_path, write(tmp_path / f"x{suffix}", text))
    assert imported(tmp_path) == [(user, item, str(stars)) for user, item, stars in ROWS]


@pytest.mark.parametrize(("given", "character"), [("~", "~"), ("tab", "\t"), ("semicolon", ";")])
def test_the_separator_is_given(given: str, character: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"user_id{character}item_id\nu{character}a,b\n")
    args = ["import", "table", "--dataset=t", f"--out={tmp_path}", f"--interactions={path}"]
    assert main([*args, f"--separator={given}"]) == 0
    assert imported(tmp_path) == [("u", "a,b")]


def test_dates_are_seconds_in_utc(tmp_path: Path) -> None:
    times = {
        "2001-09-09T01:46:40Z": 1e9,
        "2001-09-09 01:46:40": 1e9,
        "2001-09-09T03:46:40+02:00": 1e9,
        "2001-09-09T01:46:40.250Z": 1e9 + 0.25,
        "2001-09-09": 1e9 - 6400,
    }
    lines = "".join(f"u,i{n},{time}\n" for n, time in enumerate(times))
    import_table("t", tmp_path, write(tmp_path / "x.csv", f"user_id,item_id,timestamp\n{lines}"))
    found = [float(row[2]) for row in imported(tmp_path)]
    assert found == list(times.values())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_empty_cells(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": list("abc"), "item_id": list("xyz"), "rating": [1.0, None, 2]})
    path = tmp_path / f"x.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    with pytest.raises(DataError, match=r"1 of 3 rows have no rating \(the first is row 2\)"):
        import_table("t", tmp_path, path)
    report = import_table("t", tmp_path, path, empty="drop-rows")
    assert imported(tmp_path) == [("a", "x", "1.0"), ("c", "z", "2.0")]
    assert "rows without a rating, dropped  1" in report.table()
    import_table("t", tmp_path, path, empty="drop-column", overwrite=True)
    assert imported(tmp_path) == [("a", "x"), ("b", "y"), ("c", "z")]


def test_rows_keep_their_numbers_when_others_are_dropped(tmp_path: Path) -> None:
    text = "user_id,item_id,rating,timestamp\na,x,,1\nb,y,2,noon\n"
    with pytest.raises(DataError, match="row 2: timestamp 'noon'"):
        import_table("t", tmp_path, write(tmp_path / "x.csv", text), empty="drop-rows")


def test_several_files_are_one_table(tmp_path: Path) -> None:
    first = write(tmp_path / "a,1.csv", "user_id,item_id\nu,i\n")
    second = write(tmp_path / "b.tsv", "item_id\tuser_id\nj\tv\n")
    args = ["import", "table", "--dataset=t", f"--out={tmp_path}"]
    assert main([*args, f"--interactions={first}", f"--interactions={second}"]) == 0
    assert imported(tmp_path) == [("u", "i"), ("v", "j")]
    other = write(tmp_path / "c.csv", "user_id,item_id,rating\nu,i,1\n")
    with pytest.raises(DataError, match=r"c\.csv has the columns user_id, item_id, rating, and"):
        import_table("t", tmp_path, [first, other], overwrite=True)


def test_a_file_a_part(tmp_path: Path) -> None:
    files = []
    for part, item in (("train", "i"), ("valid", "j"), ("test", "k")):
        path = write(tmp_path / f"{part}.csv", f"user_id,item_id\nu,{item}\n")
        files.append(f"{part}={path}")
    import_table("t", tmp_path, files)
    for part, item in (("train", "i"), ("valid", "j"), ("test", "k")):
        assert imported(tmp_path, part) == [("u", item)]


def test_a_matrix_in_an_archive(tmp_path: Path) -> None:
    table = write(tmp_path / "x.csv", "user_id,item_id\nu,i\nv,i\n")
    ids = write(tmp_path / "u.txt", "u\nv\n")
    rows = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.savez(tmp_path / "one.npz", vectors=rows)
    np.savez(tmp_path / "two.npz", vectors=rows, scale=np.ones(2))
    np.savez(tmp_path / "whole.npz", vectors=rows.astype(np.int8))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:60])
    objects = np.array([[{}], [{}]], dtype=object)
    np.savez(tmp_path / "objects.npz", vectors=objects)
    import_table("t", tmp_path, table, user_embeddings=tmp_path / "one.npz", user_ids=ids)
    found = read_table(tmp_path / "t" / "t.useremb.npy")
    assert np.array_equal(found.matrix, rows)
    for name, message in {
        "two": "two.npz holds 2 arrays .vectors, scale.: save the one",
        "whole": "whole.npz holds int8, as quantising encoders give",
        "cut": "cut.npz cannot be read as .npz",
        "objects": "objects.npz cannot be read as .npz",
    }.items():
        with pytest.raises(EmbeddingError, match=message):
            import_table(
                "t", tmp_path, table, user_embeddings=tmp_path / f"{name}.npz", user_ids=ids,
                overwrite=True,
            )  # fmt: skip


def test_how_many_more_is_true() -> None:
    assert some(["a", "b", "c", "d", "e"], 3, 11) == "a, b, c, … (8 more)"
    assert some(["a", "b", "c"], 3, 3) == "a, b, c"
    assert some(["a"], 3, 1) == "a"


def test_the_report_counts_who_has_no_profile(tmp_path: Path) -> None:
    table = write(tmp_path / "x.csv", "user_id,item_id\n" + "".join(f"u{n},i\n" for n in range(12)))
    profiles = write(tmp_path / "u.jsonl", json.dumps({"id": "u5", "profile": "x"}))
    report = import_table("t", tmp_path, table, user_profiles=profiles)
    assert "1 of 12 (8.3 %); none for u0, u1, u2, … (8 more)" in report.table()

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from recbole_darec.cli import import_
from recbole_darec.errors import DataError
from recbole_darec.sources.importers.rlmrec import import_rlmrec

from .hostile import Reduce

USERS, ITEMS = 4, 5
PAIRS = {
    "trn": [(0, 0), (0, 1), (1, 1), (2, 2), (3, 0), (3, 3)],
    "val": [(0, 2), (1, 0)],
    "tst": [(0, 3), (2, 4)],
}


def matrix(pairs, shape=(USERS, ITEMS), values=None):
    row, col = zip(*pairs) if pairs else ((), ())
    data = np.ones(len(pairs)) if values is None else np.array(values)
    return scipy.sparse.coo_matrix((data, (np.array(row, int), np.array(col, int))), shape=shape)


def dump(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))
    return folder


def release(folder: Path, **changed: object) -> Path:
    files: dict[str, object] = {f"{part}_mat": matrix(pairs) for part, pairs in PAIRS.items()}
    return dump(folder, **{**files, **changed})


def read_inter(path: Path) -> list[tuple[str, str]]:
    frame = pd.read_csv(path, sep="\t", dtype=str)
    assert list(frame) == ["user_id:token", "item_id:token"]
    return list(frame.itertuples(index=False, name=None))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_fixed_split_comes_in(tmp_path):
    release(tmp_path / "source" / "yelp")
    report = import_rlmrec(tmp_path / "source", "yelp", tmp_path / "out")
    folder = tmp_path / "out" / "yelp"
    assert tree(folder) == ["yelp.test.inter", "yelp.train.inter", "yelp.valid.inter", "yelp.yaml"]
    for part, short in (("train", "trn"), ("valid", "val"), ("test", "tst")):
        expected = [(str(u), str(i)) for u, i in PAIRS[short]]
        assert read_inter(folder / f"yelp.{part}.inter") == expected
    assert report.interactions == {"train": 6, "valid": 2, "test": 2}
    assert (report.users, report.items) == (4, 5)
    assert report.density == 10 / 20
    assert (report.cold_users, report.cold_items) == (0, 1)  # item 4 is in test alone
    assert (report.duplicates, report.overlaps) == (0, 0)
    table = report.table()
    assert "50.000 %" in table
    assert "0 users, 1 items" in table


def test_profiles_and_embeddings_come_in(tmp_path):
    users = np.arange(USERS * 3, dtype=np.float64).reshape(USERS, 3)
    items = np.arange(ITEMS * 3, dtype=np.float32).reshape(ITEMS, 3)
    release(
        tmp_path / "yelp",
        usr_emb_np=users,
        itm_emb_np=items,
        usr_prf={n: {"profile": f"user {n}", "reasoning": "r"} for n in range(USERS)},
        itm_prf={0: {"profile": "an item"}, 3: "another", 2: {"profile": " "}},
    )
    report = import_rlmrec(tmp_path / "yelp", "yelp", tmp_path / "out")
    folder = tmp_path / "out" / "yelp"
    assert np.load(folder / "yelp.useremb.npy").dtype == np.float32
    np.testing.assert_array_equal(np.load(folder / "yelp.useremb.npy"), users)
    np.testing.assert_array_equal(np.load(folder / "yelp.itememb.npy"), items)
    assert (folder / "yelp.itememb.tokens").read_text().split() == ["0", "1", "2", "3", "4"]
    lines = (folder / "yelp.itemprofile.jsonl").read_text().splitlines()
    assert lines == ['{"id": "0", "profile": "an item"}', '{"id": "3", "profile": "another"}']
    coverage = report.coverage
    assert coverage["user profiles"].covered == coverage["user profiles"].total == 4
    assert (coverage["item profiles"].covered, coverage["item profiles"].total) == (2, 5)
    assert coverage["item profiles"].missing == ["1", "2", "4"]
    assert coverage["item embeddings"].width == 3
    assert "2 rows, for 2 of 5 (40.0 %); none for 1, 2, 4" in report.table()


def test_zeros_and_repeats_are_dropped_and_overlaps_counted(tmp_path):
    release(
        tmp_path / "x",
        trn_mat=matrix([*PAIRS["trn"], (0, 0), (1, 4)], values=[1] * 7 + [0]),
        tst_mat=scipy.sparse.csr_matrix(matrix([(0, 3), (0, 1), (0, 2)])),
    )
    report = import_rlmrec(tmp_path, "x", tmp_path / "out")
    assert report.interactions == {"train": 6, "valid": 2, "test": 3}
    assert report.duplicates == 1
    assert report.overlaps == 2  # (0, 1) of train and (0, 2) of valid stand in test as well
    assert "pairs in two parts, kept" in report.table()


# -- archives -------------------------------------------------------------------------------------


def pack(archive: Path, folder: Path, prefix: str) -> Path:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"{prefix}{path.name}")
    return archive


@pytest.mark.parametrize("prefix", ["yelp/", "data/rlmrec/yelp/", "", "./yelp/", "../../../yelp/"])
def test_an_archive_is_read_in_place(prefix, tmp_path):
    source = release(
        tmp_path / "elsewhere",
        usr_emb_np=np.ones((USERS, 2), np.float32),
        itm_emb_np=np.ones((ITEMS, 2), np.float32),
    )
    (tmp_path / "a").mkdir()
    archive = pack(tmp_path / "a" / "r.zip", source, prefix)
    before = set(tree(tmp_path))
    report = import_rlmrec(archive, "yelp", tmp_path / "out")
    assert report.interactions == {"train": 6, "valid": 2, "test": 2}
    assert "user embeddings" in report.coverage
    assert {name for name in set(tree(tmp_path)) - before if not name.startswith("out")} == set()


def test_an_archive_of_several_data_sets(tmp_path):
    source = release(tmp_path / "files")
    archive = pack(tmp_path / "r.zip", source, "amazon/")
    pack(archive, source, "yelp/")
    pack(archive, source, "__MACOSX/._yelp/")
    assert import_rlmrec(archive, "yelp", tmp_path / "out").interactions["train"] == 6
    with pytest.raises(DataError, match=r"no data set 'yelpp'.*did you mean 'yelp'"):
        import_rlmrec(archive, "yelpp", tmp_path / "out")
    pack(archive, source, "old/yelp/")
    with pytest.raises(DataError, match="more than one folder 'yelp'"):
        import_rlmrec(archive, "yelp", tmp_path / "again")


def test_an_archive_that_swells_is_refused(tmp_path):
    archive = pack(tmp_path / "bomb.zip", release(tmp_path / "files"), "yelp/")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("yelp/usr_prf.pkl", bytes(100 * 2**20))
    with pytest.raises(DataError, match=r"usr_prf\.pkl unpacks to 104,857,600 bytes"):
        import_rlmrec(archive, "yelp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_archives(tmp_path):
    whole = pack(tmp_path / "r.zip", release(tmp_path / "files"), "yelp/").read_bytes()
    path = tmp_path / "damaged.zip"
    for data in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"damaged\.zip"):
            import_rlmrec(path, "yelp", tmp_path / "out")
    flipped = bytearray(whole)
    flipped[len("yelp/trn_mat.pkl") + 60] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"damaged\.zip"):
        import_rlmrec(path, "yelp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- bad input ------------------------------------------------------------------------------------

BAD = {
    "another shape": ({"val_mat": matrix(PAIRS["val"], (USERS, 9))}, "val_mat.pkl has shape"),
    "an empty part": ({"tst_mat": matrix([])}, "tst_mat.pkl has no interactions"),
    "only zeros": ({"tst_mat": matrix([(0, 0)], values=[0.0])}, "no interactions"),
    "negative": ({"trn_mat": matrix([(0, 0)], values=[-1.0])}, "negative entries"),
    "NaN": ({"trn_mat": matrix([(0, 0)], values=[np.nan])}, "NaN or Inf"),
    "dense": ({"trn_mat": np.ones((2, 2))}, "no sparse matrix, but ndarray"),
    "few rows": ({"usr_emb_np": np.ones((USERS + 1, 2))}, "has 5 rows, but .* names 4"),
    "wide": ({"itm_emb_np": np.ones((ITEMS, 2, 2))}, "floats of shape"),
    "integers": ({"itm_emb_np": np.ones((ITEMS, 2), int)}, "holds int64"),
    "NaN embedding": ({"itm_emb_np": np.full((ITEMS, 2), np.nan)}, "row 0 .* NaN or Inf"),
    "float32 overflow": ({"itm_emb_np": np.full((ITEMS, 2), 1e300)}, "NaN or Inf"),
    "no array": ({"itm_emb_np": {"a": 1}}, "no array, but dict"),
    "profile of nobody": ({"usr_prf": {9: "x"}}, "a profile for '9'"),
    "profile without text": ({"usr_prf": {1: {"text": "x"}}}, "the entry '1' has no text"),
    "profiles as text": ({"usr_prf": "x"}, "no profile texts by number, but str"),
    "hostile": ({"usr_prf": Reduce(os.system, "true")}, "usr_prf.pkl asks for posix.system"),
}


@pytest.mark.parametrize("label", BAD)
def test_bad_input_names_the_file_and_leaves_nothing(label, tmp_path):
    changed, message = BAD[label]
    release(tmp_path / "source" / "yelp", **changed)
    with pytest.raises(DataError, match=message):
        import_rlmrec(tmp_path / "source", "yelp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_files(tmp_path):
    source = release(tmp_path / "yelp")
    with pytest.raises(DataError, match=r"no data set 'yelb'.*did you mean 'yelp'"):
        import_rlmrec(tmp_path, "yelb", tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        import_rlmrec(tmp_path / "absent", "yelp", tmp_path / "out")
    with pytest.raises(DataError, match=r"holds no trn_mat\.pkl"):
        import_rlmrec(dump(tmp_path / "empty"), "yelp", tmp_path / "out")
    (source / "val_mat.pkl").unlink()
    with pytest.raises(DataError, match=r"val_mat\.pkl is missing"):
        import_rlmrec(source, "yelp", tmp_path / "out")
    with pytest.raises(DataError, match="cannot name a data set"):
        import_rlmrec(tmp_path, "../yelp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- the command, and the real release ------------------------------------------------------------


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    import_.add_parser(parser.add_subparsers(), "")
    return parser.parse_args(["import", *words])


EXPECTED = {
    "amazon": (11_000, 9_332, {"train": 120_464, "valid": 40_290, "test": 40_106}),
    "yelp": (11_091, 11_010, {"train": 166_620, "valid": 55_479, "test": 55_436}),
}


@pytest.mark.parametrize("dataset", EXPECTED)
def test_the_real_release_by_one_command(dataset, shared, tmp_path, capsys):
    source = shared / "data" / "rlmrec"
    args = parse(
        "rlmrec", "--source", str(source), "--dataset", dataset, "--out", str(tmp_path / "out")
    )
    assert args.handler(args) == 0
    printed = capsys.readouterr().out
    users, items, interactions = EXPECTED[dataset]
    for number in (users, items, *interactions.values()):
        assert f"{number:,}" in printed
    for part, short in (("train", "trn"), ("valid", "val"), ("test", "tst")):
        found = pd.read_csv(tmp_path / "out" / dataset / f"{dataset}.{part}.inter", sep="\t")
        assert len(found) == interactions[part]
        # the release is trusted here, to have another reader to compare with
        expected = pickle.loads((source / dataset / f"{short}_mat.pkl").read_bytes())
        np.testing.assert_array_equal(found["user_id:token"], expected.row)
        np.testing.assert_array_equal(found["item_id:token"], expected.col)
    with pytest.raises(DataError, match="--overwrite"):
        args.handler(args)
    args.overwrite = True
    assert args.handler(args) == 0


def test_recbole_loads_the_import(shared, tmp_path):
    import_rlmrec(shared / "data" / "rlmrec", "yelp", tmp_path)
    check_recbole(tmp_path, "yelp", EXPECTED["yelp"])


def check_recbole(data_path, name, expected):
    """RecBole reads the data set with nothing but its own yaml, and finds the fixed split."""
    from recbole_darec.recbole_compat import reconcile

    reconcile()  # what stock RecBole needs on the current stack
    from recbole.config import Config
    from recbole.data import create_dataset

    config = Config(
        model="LightGCN",
        dataset=name,
        config_file_list=[str(data_path / name / f"{name}.yaml")],
        config_dict={"data_path": str(data_path), "use_gpu": False},
    )
    dataset = create_dataset(config)
    users, items, interactions = expected
    assert (dataset.user_num - 1, dataset.item_num - 1) == (users, items)  # row 0 is padding
    parts = dataset.build()
    assert [len(part) for part in parts] == list(interactions.values())
    assert set(dataset.inter_feat.columns) == {"user_id", "item_id"}
